"""Secrets in addresses: wherever an address is stored, printed or logged, they are masked.

The address itself is used only to download from it.
"""

from __future__ import annotations

import re

MASK = "***"
# A user with a password, or any user over http, which is how tokens are given; the user of an ssh address isn't secret.
_USER = re.compile(r"(?i)\b(?P<scheme>[a-z][a-z0-9+.-]*://)(?P<user>[^/\s?#'\"<>]*)@")
# A parameter whose name suggests a secret, or whose value is long enough to be one. It errs on the safe side: `code=12`
# is masked, `id=12` is not.
_PARAMETER = re.compile(r"(?P<name>[?&;#][^=&;#\s'\"<>]*=)(?P<value>[^&;#\s'\"<>]+)")
_SUSPICIOUS = re.compile(r"(?i)tok|key|secret|sig|pass|pwd|auth|cred|code|jwt|sess|access")
LONG = 20  #: characters; a value of so many may be a secret


def masked(text: str) -> str:
    """Mask the secrets in every address in a text.

    >>> masked("https://me:hunter2@example.org/a.zip?id=7&token=abc")
    'https://***@example.org/a.zip?id=7&token=***'
    """
    return _PARAMETER.sub(_mask_parameter, _USER.sub(_mask_user, text))


def _mask_user(found: re.Match[str]) -> str:
    is_name = found["scheme"].lower() == "ssh://" and ":" not in found["user"]
    return found[0] if is_name else f"{found['scheme']}{MASK}@"


def _mask_parameter(found: re.Match[str]) -> str:
    is_secret = _SUSPICIOUS.search(found["name"]) or len(found["value"]) >= LONG
    return f"{found['name']}{MASK}" if is_secret else found[0]

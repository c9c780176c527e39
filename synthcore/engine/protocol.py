"""What the client and the zygote say to each other: length-prefixed JSON, with bytes behind it.

Standard library only, because the zygote imports it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

_LENGTHS = struct.Struct("<II")
#: Memory that a child may have of its own: the synth takes 190 to 230 MB, a render at most 3 times its row besides.
SYNTH_BYTES, ROWS_HELD = 2 << 30, 8

#: A message: what it says, and the bytes it brings (a preset's JSON going in, a compressed row coming out).
Message = tuple[dict[str, Any], bytes]


def data_bytes(samples: int) -> int:
    """Memory that a render of so many samples may take: RLIMIT_DATA of a child."""
    return SYNTH_BYTES + ROWS_HELD * samples * 2 * 4


def pack(head: dict[str, Any], body: bytes = b"") -> bytes:
    """Frame one message."""
    return b"".join(pack_parts(head, body))


def pack_parts(head: dict[str, Any], body: bytes = b"") -> tuple[bytes, bytes]:
    """Frame one message without copying its body: what to write, in order."""
    text = json.dumps(head, separators=(",", ":")).encode()
    return _LENGTHS.pack(len(text), len(body)) + text, body


def unpack(read: Callable[[int], bytes]) -> Message | None:
    """Read one message; None when the other side has closed between two messages.

    Parameters
    ----------
    read : callable
        Returns exactly the number of bytes asked for, fewer only at the end of the stream.

    Raises
    ------
    EOFError
        The stream ended in the middle of a message.
    """
    lengths = read(_LENGTHS.size)
    if not lengths:
        return None
    if len(lengths) < _LENGTHS.size:
        raise EOFError("the stream ended in the middle of a message")
    text_size, body_size = _LENGTHS.unpack(lengths)
    text, body = read(text_size), read(body_size)
    if len(text) < text_size or len(body) < body_size:
        raise EOFError("the stream ended in the middle of a message")
    return json.loads(text), body

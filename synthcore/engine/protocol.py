"""What the client and the zygote say to each other: length-prefixed JSON, with bytes behind it.

Standard library only, because the zygote imports it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from synthcore.engine.rendering import Performance, RenderFormat

_LENGTHS = struct.Struct("<II")
#: Memory that a child may have of its own: the synth takes 190 to 230 MB, a render at most 3 times its row besides.
SYNTH_BYTES, ROWS_HELD = 2 << 30, 8


@dataclass(frozen=True)
class Request:
    """One candidate; its preset is the body. Unless it is performed, the synth only writes the preset as it reads it.

    `changes` holds, for each performance, the values of controls to set before it is played; it is empty where nothing
    is to be changed.
    """

    fmt: RenderFormat
    performances: Sequence[Performance]
    changes: Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class Ready:
    """The zygote is warm."""


@dataclass(frozen=True)
class Written:
    """The pages that a render writes, each from one address to another."""

    spans: Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Migrated:
    """The preset as this synth writes it is the body."""


@dataclass(frozen=True)
class Played:
    """A note was rendered. Its compressed audio is the body, unless it has a fault."""

    note: int
    rms_dbfs: float | None = None
    peak: float | None = None
    audio_sha256: str = ""
    fault: str | None = None
    settle_cpu: float = 0.0
    render_cpu: float = 0.0


@dataclass(frozen=True)
class Died:
    """The process that rendered a note was ended by a signal."""

    note: int
    signal: int


@dataclass(frozen=True)
class End:
    """Nothing follows. `signal` ended the candidate's process, if one did; `broken`: this program itself failed."""

    signal: int | None
    broken: bool


Message = Request | Ready | Written | Migrated | Played | Died | End
KINDS = {kind.__name__: kind for kind in (Request, Ready, Written, Migrated, Played, Died, End)}


def data_bytes(samples: int) -> int:
    """Memory that a render of so many samples may take: RLIMIT_DATA of a child."""
    return SYNTH_BYTES + ROWS_HELD * samples * 2 * 4


def pack(message: Message, body: bytes = b"") -> bytes:
    """Frame one message."""
    return b"".join(pack_parts(message, body))


def pack_parts(message: Message, body: bytes = b"") -> tuple[bytes, bytes]:
    """Frame one message without copying its body: what to write, in order."""
    text = json.dumps([type(message).__name__, vars(message)], separators=(",", ":"), default=asdict).encode()
    return _LENGTHS.pack(len(text), len(body)) + text, body


def unpack(read: Callable[[int], bytes]) -> tuple[Message, bytes] | None:
    """Read one message and its body; None when the other side has closed between two messages.

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
    kind, fields = json.loads(text)
    if kind == Request.__name__:
        fields["fmt"] = RenderFormat(**fields["fmt"])
        fields["performances"] = [Performance(**one) for one in fields["performances"]]
    return KINDS[kind](**fields), body

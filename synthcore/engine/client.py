"""Driving zygotes: send a candidate, get its rows or its fault, survive what happens on the way.

Owns the difference between a fault (of the candidate) and an accident (of the moment). An accident is retried with
the same candidate in a fresh zygote, so that no kill ever changes which candidate is kept.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import math
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence

from synthcore.base.errors import Accident, SynthcoreError
from synthcore.base.memory import return_large_blocks
from synthcore.engine import faults
from synthcore.engine.protocol import Died, End, Message, Migrated, Played, Request, data_bytes, pack, unpack
from synthcore.engine.rendering import CpuSeconds, Fault, Outcome, Performance, RenderedRow, RenderFormat
from synthcore.engine.stopping import POLL_SECONDS, is_stopping, raise_if_stopped

log = logging.getLogger(__name__)

MAX_ACCIDENTS = 3
#: Only what the program itself did wrong; SIGKILL and SIGTERM come from outside.
CRASH_SIGNALS = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}
START_SECONDS = 60  #: for a zygote to warm up: 1 s here, far more on a cold, busy machine
LOAD_SECONDS = 10  #: the largest real preset took 2.6 s to load
DOCUMENT_BYTES = 1 << 26  #: the largest document that a migration may give; the largest real one gave 4 MB
SAID_LENGTH = 200  #: to which the last line that a zygote wrote is cut
PIPE_BYTES = 1 << 20  #: Linux's limit for a pipe without privileges

Performances = tuple[Performance, ...]
Changes = Sequence[Mapping[str, float]]  #: for each performance, the value of every control to set


class Crashed(Exception):
    """The synth crashed: the first time an accident, a fault when it does so again. Never leaves this module."""

    def __init__(self, note: int, signal_number: int) -> None:
        super().__init__(f"the synth crashed at note {note} with {signal.Signals(signal_number).name}")
        self.note = note


class Zygote:
    """One zygote process.

    Parameters
    ----------
    fmt : RenderFormat
        What it renders.
    """

    def __init__(self, fmt: RenderFormat) -> None:
        self.fmt = fmt
        return_large_blocks()
        # A stream that can't be compressed grows a little, and the head needs room.
        place_bytes = (fmt.row_bytes + fmt.row_bytes // 100 if fmt.places else DOCUMENT_BYTES) + 4096
        try:
            self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  open as long as the process
            self.process = self._start(place_bytes)
        except OSError as error:
            raise Accident(f"can't start a zygote: {error}") from error
        living.add(self)
        if self.process.stdin is None or self.process.stdout is None:
            raise RuntimeError("a process asked to have pipes has none")
        self._stdin, self._stdout = self.process.stdin, self.process.stdout
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            for pipe in (self._stdin, self._stdout):
                with contextlib.suppress(PermissionError):  # the user's pipes may hold only so much together
                    fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        os.set_blocking(self._stdin.fileno(), False)
        self._is_ready = False
        self._deadline = 0.0
        self._performances: Performances = ()

    def _start(self, place_bytes: int) -> subprocess.Popen[bytes]:
        numbers = (self.fmt.sample_rate, max(1, self.fmt.places), place_bytes)
        return subprocess.Popen(
            [sys.executable, "-I", "-m", "synthcore.engine.zygote", *map(str, numbers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is ours to handle, and one kill ends the whole family
            env=_environment(),
        )

    def send(self, preset: bytes, performances: Performances, changes: Changes, timeout_seconds: float) -> None:
        """Send one candidate, then call `receive`, which also tells what went wrong while sending.

        Without performances, of which there are at most as many as the format has places, it is not rendered, but
        migrated: the answer is the document as this synth writes it. With changes, there is one for each performance:
        the values of controls that are set before it is played.

        The candidate may take `timeout_seconds` of wall clock for each of its renders, plus loading.
        """
        allowed = LOAD_SECONDS + timeout_seconds * (len(performances) + 1)
        self._deadline = time.monotonic() + allowed + (0 if self._is_ready else START_SECONDS)
        self._performances = performances
        unsent = memoryview(pack(Request(self.fmt, performances, changes), preset))
        with contextlib.suppress(BrokenPipeError):
            while unsent and time.monotonic() < self._deadline and not is_stopping():
                if select.select([], [self._stdin], [], POLL_SECONDS)[1]:
                    unsent = unsent[self._stdin.write(unsent) or 0 :]

    def receive(self) -> Outcome:
        """Wait for what became of the candidate sent.

        Raises
        ------
        Accident
            The zygote or one of its children was killed, or ran out of wall-clock time.
        Crashed
            The synth crashed.
        Interrupted
            `stop` was called.
        """
        if not self._is_ready:
            self._receive()
            self._is_ready = True
        rows: list[RenderedRow] = []
        fault: Fault | None = None
        cpu = CpuSeconds()
        died: int | None = None
        document = b""
        while not isinstance((answer := self._receive())[0], End):
            message, body = answer
            if isinstance(message, Died):
                died = message.signal
            elif isinstance(message, Migrated):
                document = body
            elif isinstance(message, Played):
                cpu += CpuSeconds(message.settle_cpu, message.render_cpu)
                if message.fault:
                    fault = Fault(message.note, message.fault, _number(message.rms_dbfs), _number(message.peak))
                else:
                    rows.append(_row_of(message, self._performances[len(rows)], body))
        if answer[0].broken:
            raise self._accident("a render child failed")
        if signalled := died or answer[0].signal:
            note = self._performances[len(rows)].note if self._performances else faults.NO_NOTE
            fault = self._fault_of(signalled, note)
        if fault is None and (len(rows) < len(self._performances) or not (self._performances or document)):
            raise self._accident("a render child left no answer")
        return Outcome(tuple(rows) if fault is None else (), fault, cpu, document)

    def _fault_of(self, died: int, note: int) -> Fault:
        """Judge the signal that ended a render: the candidate's fault, a crash, or an accident."""
        if died == signal.SIGXCPU:
            return Fault(note, faults.CPU_LIMIT, None, None)
        if died in CRASH_SIGNALS:
            raise Crashed(note, died)
        raise self._accident(f"a render child died by {signal.Signals(died).name}")

    def kill(self) -> None:
        """End the zygote and every child of it, at once."""
        living.discard(self)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for stream in (self._stdin, self._stdout, self._stderr):
            stream.close()

    def _receive(self) -> tuple[Message, bytes]:
        try:
            message = unpack(self._read)
        except EOFError as error:
            raise self._accident("it died in the middle of an answer") from error
        if message is None:
            raise self._accident("it died")
        return message

    def _read(self, size: int) -> bytes:
        content, received = bytearray(size), 0
        with memoryview(content) as view:
            while received < size:
                raise_if_stopped()
                if select.select([self._stdout], [], [], POLL_SECONDS)[0]:
                    # Into place: a pipe gives little at a time, and `read` would make room for all of it every time.
                    count = os.readv(self._stdout.fileno(), [view[received:]])
                    if not count:
                        break
                    received += count
                elif time.monotonic() > self._deadline:
                    raise self._accident("it ran out of wall-clock time")
        return bytes(content[:received])

    def _accident(self, what: str) -> Accident:
        self._stderr.seek(0)
        said = self._stderr.read().decode(errors="replace").strip()
        return Accident(
            f"zygote {self.process.pid}: {what}" + (f" ({said.splitlines()[-1][:SAID_LENGTH]})" if said else "")
        )


def require_room(fmt: RenderFormat) -> None:
    """Refuse to render where this process is held to less than a render may take.

    A candidate that takes more is refused. A lower limit would refuse others too: the same spec would give other rows.

    Raises
    ------
    SynthcoreError
    """
    megabytes = data_bytes(fmt.samples) >> 20
    for limit, flag, needed, unit, what in (
        (resource.RLIMIT_DATA, "-d", megabytes, 1 << 20, "MB of memory"),
        (resource.RLIMIT_AS, "-v", megabytes, 1 << 20, "MB of memory"),
        (resource.RLIMIT_CPU, "-t", fmt.cpu_seconds, 1, "s of CPU time"),
    ):
        allowed = resource.getrlimit(limit)[0]
        if allowed != resource.RLIM_INFINITY and allowed // unit < needed:
            raise SynthcoreError(
                f"this process may take {allowed // unit:,} {what} (ulimit {flag}), and a render up to {needed:,}: "
                "raise that limit, or which candidates are refused would depend on it"
            )


class Renderer:
    """Renders candidates one after the other, replacing its zygote when something happens to it.

    Raises
    ------
    SynthcoreError
        As `require_room`.
    """

    def __init__(self, fmt: RenderFormat, timeout_seconds: float) -> None:
        require_room(fmt)
        self.fmt = fmt
        self.timeout_seconds = timeout_seconds
        self._zygote: Zygote | None = None
        self._preset = b""
        self._performances: Performances = ()
        self._changes: Changes = ()

    def send(self, preset: bytes, performances: Performances, changes: Changes = ()) -> None:
        """Start rendering a candidate, as often as it is performed, with as many changes of controls or none."""
        self._preset, self._performances, self._changes = preset, performances, changes
        self._send(self.timeout_seconds)

    def receive(self) -> Outcome:
        """Finish rendering the candidate sent.

        Raises
        ------
        Accident
            Accident after accident befell the same candidate.
        Interrupted
            `stop` was called.
        """
        accidents: list[str] = []
        crashed = False
        while True:
            try:
                return self._expect_zygote().receive()
            except (Accident, Crashed) as befell:
                self.close()
                if isinstance(befell, Crashed):
                    if crashed:
                        return Outcome((), Fault(befell.note, faults.CRASH, None, None), CpuSeconds())
                    crashed = True
                accidents.append(str(befell))
                log.info("rendering a candidate again: %s", befell)
                if len(accidents) > MAX_ACCIDENTS:
                    raise Accident(f"gave up on a candidate: {'; '.join(accidents)}") from befell
                # Each try gets twice the wall clock of the one before: a busy machine is no reason to fail.
                self._send(self.timeout_seconds * 2 ** len(accidents))
            except BaseException:
                self.close()
                raise

    def render(self, preset: bytes, performances: Performances, changes: Changes = ()) -> Outcome:
        """Render one candidate; raises as `receive` does."""
        self.send(preset, performances, changes)
        return self.receive()

    def warm_up(self) -> None:
        """Start the zygote before there is a candidate."""
        if self._zygote is None:
            self._zygote = Zygote(self.fmt)

    def close(self) -> None:
        """End the zygote; the next candidate gets a fresh one."""
        if self._zygote is not None:
            self._zygote.kill()
            self._zygote = None

    def _send(self, timeout_seconds: float) -> None:
        self.warm_up()
        self._expect_zygote().send(self._preset, self._performances, self._changes, timeout_seconds)

    def _expect_zygote(self) -> Zygote:
        if self._zygote is None:
            raise RuntimeError("receive called before send")
        return self._zygote


living: set[Zygote] = set()  #: every zygote of this process


def _environment() -> dict[str, str]:
    """The zygote's whole environment: nothing of ours may change what it renders."""
    return {
        "PATH": os.defpath,
        "OPENBLAS_NUM_THREADS": "1",  # no threads before a fork
        # Huge pages for malloc bring a fork and exit from 13 ms to 4 ms; other libcs ignore the variable.
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    }


def _row_of(played: Played, performance: Performance, chunk: bytes) -> RenderedRow:
    if played.rms_dbfs is None or played.peak is None:
        raise RuntimeError(f"note {played.note} was rendered, but not measured")
    return RenderedRow(performance, played.rms_dbfs, played.peak, played.audio_sha256, chunk)


def _number(value: float | None) -> float | None:
    """Turn a measurement that JSON can't carry on into None."""
    return value if value is not None and math.isfinite(value) else None

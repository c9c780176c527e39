"""The zygote: the warm process that renders are forked from. Run as `python -I -m synthcore.engine.zygote`.

Audio is a function of the preset only in a process whose whole past is the same, so this program does the same
things in the same order every time: one synth, one throw-away render, and from then on only forks.

A request is one candidate: a preset's JSON and how to play it. Its child loads the JSON, checks that it was taken,
settles, and forks once per performance (a note, its velocity and its length); the last needs no fork of its own.
Without any, the child writes the document as this synth understands it instead: old versions are migrated, what is
missing is filled in.

With changes, one set of controls for each performance, each fork sets its controls before it settles: it then plays
what it would play of a JSON that had them, for all but `oversampling`, which the synth takes from a JSON alone.

Every render measures, judges, shuffles and compresses its own audio into shared memory, which only the zygote writes
to the pipe: a child that dies half-way can't break the stream. A child has limits of CPU, memory and files, and of
what the zygote has open only its stderr.

It imports neither prefect nor h5py, and ends when its parent does.
"""

from __future__ import annotations

import gc
import hashlib
import io
import mmap
import os
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import vita
from numpy import ascontiguousarray

from synthcore.engine import faults, pages
from synthcore.engine.chunk import deflate
from synthcore.engine.protocol import (
    Died,
    End,
    Message,
    Migrated,
    Played,
    Ready,
    Request,
    Written,
    data_bytes,
    pack,
    pack_parts,
    unpack,
)
from synthcore.engine.rendering import Performance

#: Controls glide from the init preset's values to the loaded ones over 0.2 to 0.5 s; this silent render lets them.
SETTLE_NOTE, SETTLE_NOTE_SECONDS, SETTLE_SECONDS = 60, 0.01, 0.5
#: How a child exits: 0 for a row, FAULTY for a refused one, BROKEN when this program itself failed.
FAULTY, BROKEN = 3, 70
COMPLAINT_BYTES = 1 << 16  #: to which length stderr, the one file that is open, may grow
HEAD_BYTES = 4096  #: what an answer may take besides its body
_LENGTH = 8  # bytes in front of an answer in shared memory: zero until the answer is whole


class Answers:
    """Shared memory in which the children of one candidate leave their answers, one place a note."""

    def __init__(self, places: int, size: int) -> None:
        self.size = size
        self.memory = mmap.mmap(-1, places * size)  # anonymous and shared: untouched pages cost nothing

    def clear(self, places: int) -> None:
        for place in range(places):
            self.memory[place * self.size : place * self.size + _LENGTH] = bytes(_LENGTH)

    def put(self, place: int, message: Message, body: bytes = b"") -> None:
        start = place * self.size
        end = start + _LENGTH
        for part in pack_parts(message, body):
            self.memory[end : end + len(part)] = part
            end += len(part)
        self.memory[start : start + _LENGTH] = (end - start - _LENGTH).to_bytes(_LENGTH, "little")

    def get(self, place: int) -> memoryview | None:
        start = place * self.size
        length = int.from_bytes(self.memory[start : start + _LENGTH], "little")
        return memoryview(self.memory)[start + _LENGTH : start + _LENGTH + length] if length else None


def render_row(synth: vita.Synth, request: Request, played: Performance, known: pages.Pages) -> tuple[Played, bytes]:
    """Render, measure, judge and compress one performance."""
    started, note = time.thread_time(), played.note
    known.obtain()
    audio = synth.render(note, played.velocity / 127, played.note_seconds, request.fmt.render_seconds)
    render_cpu = time.thread_time() - started
    if audio.shape != (2, request.fmt.samples):
        raise RuntimeError(f"the synth rendered {audio.shape}, not {(2, request.fmt.samples)}")
    rms_dbfs, peak = faults.measure(audio)
    fault = faults.judge(rms_dbfs, peak, request.fmt.min_rms_dbfs, request.fmt.max_peak)
    if fault:
        return Played(note, rms_dbfs, peak, fault=fault, render_cpu=render_cpu), b""
    audio = ascontiguousarray(audio, dtype="<f4")
    digest = hashlib.sha256(audio.data).hexdigest()
    return Played(note, rms_dbfs, peak, digest, render_cpu=render_cpu), deflate(audio)


def load(synth: vita.Synth, preset: str) -> bool:
    """Load a preset; say whether the synth took it."""
    try:
        return bool(synth.load_json(preset))
    except (RuntimeError, ValueError):  # what the bindings raise for types they can't take
        return False


def migrate(synth: vita.Synth, preset: str, answers: Answers) -> int:
    """Load, and answer with the document that the synth writes. Runs in a child of its own."""
    document = synth.to_json().encode() if load(synth, preset) else b""
    if not 0 < len(document) < answers.size - HEAD_BYTES:
        answers.put(0, Played(faults.NO_NOTE, fault=faults.NOT_LOADED))
        return FAULTY
    answers.put(0, Migrated(), document)
    return 0


def render_candidate(synth: vita.Synth, request: Request, preset: str, answers: Answers, known: pages.Pages) -> int:
    """Load, settle, and answer row after row until one has a fault. Runs in the candidate's own child."""
    performances, changes = request.performances, request.changes
    known.obtain()
    if not load(synth, preset):
        answers.put(0, Played(performances[0].note, fault=faults.NOT_LOADED))
        return FAULTY
    settled = 0.0 if changes else settle(synth, known)
    if len(performances) > 1:
        known.give_back()

    def play(place: int) -> int:
        settle_cpu = 0.0 if place else settled
        if changes:
            change(synth, changes[place])
            settle_cpu = settle(synth, known)
        played, chunk = render_row(synth, request, performances[place], known)
        answers.put(place, replace(played, settle_cpu=settle_cpu), chunk)
        return FAULTY if played.fault else 0

    for place in range(len(performances) - 1):
        _, status = os.waitpid(fork_into(partial(play, place)), 0)
        if os.WIFSIGNALED(status):
            answers.put(place, Died(performances[place].note, os.WTERMSIG(status)))
        if status:
            return FAULTY
    return play(len(performances) - 1)


def settle(synth: vita.Synth, known: pages.Pages) -> float:
    """Let the controls arrive at their values; return the CPU seconds it took."""
    started = time.thread_time()
    known.obtain()
    synth.render(SETTLE_NOTE, 0.0, SETTLE_NOTE_SECONDS, SETTLE_SECONDS)
    return time.thread_time() - started


def change(synth: vita.Synth, values: Mapping[str, float]) -> None:
    """Set some controls."""
    controls = synth.get_controls()
    for name, value in values.items():
        controls[name].set(value)


def fork_into(work: Callable[[], int]) -> int:
    """Fork a child that does `work`, exits with what it returns, and never comes back; return its pid."""
    child = os.fork()
    if child:
        return child
    code = BROKEN
    try:
        code = work()
    except MemoryError:
        # A preset that wants too much, or a machine that has run out. A crash tells them apart: only the first happens
        # twice.
        os.abort()
    except BaseException:  # noqa: BLE001  the child must not run on as a second zygote, whatever happened
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def confine(request: Request) -> None:
    """Leave a candidate's child, and its own children, nothing but what a render takes."""
    # The zygote alone reads requests and writes answers; what the synth may print goes where complaints go.
    os.dup2(sys.stderr.fileno(), sys.stdin.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    # The soft limit kills with SIGXCPU, which is the fault; the hard one above it is only a net.
    limit(resource.RLIMIT_CPU, request.fmt.cpu_seconds, request.fmt.cpu_seconds + 1)
    most = data_bytes(request.fmt.samples)
    limit(resource.RLIMIT_DATA, most, most)
    limit(resource.RLIMIT_FSIZE, COMPLAINT_BYTES, COMPLAINT_BYTES)
    limit(resource.RLIMIT_NOFILE, 0, 0)  # what is open stays open
    limit(resource.RLIMIT_CORE, 0, 0)


def limit(what: int, soft: int, hard: int) -> None:
    """Limit this process; where the user is held to less already, that stays."""
    allowed = resource.getrlimit(what)[1]
    most = hard if allowed == resource.RLIM_INFINITY else min(hard, allowed)
    resource.setrlimit(what, (min(soft, most), most))


def _wait(child: int, done: int) -> int:
    """Wait for a child, or end everything if our parent is gone meanwhile.

    `done` is a pipe that the child and its own children hold open: it hangs up when the last of them has ended.
    """
    watch = select.poll()
    watch.register(done, 0)  # hang-ups only
    watch.register(sys.stdin.fileno(), 0)
    ended = dict(watch.poll())
    if sys.stdin.fileno() in ended and done not in ended:
        os.killpg(0, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def serve(synth: vita.Synth, answers: Answers, known: pages.Pages) -> None:
    """Answer requests from stdin on stdout until stdin closes."""
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    while (message := unpack(stdin.read)) is not None:
        request, preset = message
        if not isinstance(request, Request):
            raise TypeError(f"a zygote is asked with requests, not with {request}")
        places = range(max(1, len(request.performances)))
        answers.clear(len(places))
        done, held = os.pipe()

        def work(request: Request = request, preset: bytes = preset, done: int = done) -> int:
            os.close(done)
            confine(request)
            if not request.performances:
                return migrate(synth, preset.decode(), answers)
            return render_candidate(synth, request, preset.decode(), answers, known)

        child = fork_into(work)
        os.close(held)
        status = _wait(child, done)
        os.close(done)
        for answer in filter(None, map(answers.get, places)):
            stdout.write(answer)
        signalled = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        stdout.write(pack(End(signal=signalled, broken=status == BROKEN << 8)))
        stdout.flush()


def scout(synth: vita.Synth, answers: Answers) -> list[pages.Span]:
    """Let a child see which pages a render writes."""

    def work() -> int:
        settle(synth, pages.Pages())
        answers.put(0, Written(pages.written()))
        return 0

    os.waitpid(fork_into(work), 0)
    seen = answers.get(0)
    message = unpack(io.BytesIO(seen).read) if seen else None
    return list(message[0].spans) if message and isinstance(message[0], Written) else []


def main() -> None:
    """Warm up and serve. The arguments are the sample rate, the number of places and their size in bytes."""
    sample_rate, places, size = map(int, sys.argv[1:4])
    synth = vita.Synth()
    synth.set_sample_rate(sample_rate)
    synth.render(SETTLE_NOTE, 0.8, 0.1, 0.2)  # fills the synth's lazy tables, half a second once
    answers = Answers(places, size)
    gc.disable()  # nothing here makes cycles, and a collection in a child would touch every page
    gc.freeze()
    released = pages.release_zeros()
    known = pages.Pages.of(scout(synth, answers), released)
    sys.stdout.buffer.write(pack(Ready()))
    sys.stdout.buffer.flush()
    serve(synth, answers, known)


if __name__ == "__main__":
    main()

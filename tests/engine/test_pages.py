"""Memory: what is given back held only zeros, and what a render writes is found."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from synthcore.engine.pages import Pages

Fresh = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is given back or asked for")

# Seventy blocks of memory in a process of its own: the addresses are the kernel's, and Python's allocators know none.
BEGIN = """
import ctypes, mmap, os
from synthcore.engine import pages
B, P = pages.BLOCK, pages.PAGE
memory = mmap.mmap(-1, 70 * B, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
first = ctypes.addressof(ctypes.c_char.from_buffer(memory))
inside = lambda spans: [((a - first) // B, (b - first) // B) for a, b in spans if first <= a and b <= first + 70 * B]
def present(block):
    found = (ctypes.c_ubyte * 1)()
    assert pages._libc.mincore(first + block * B, P, found) == 0
    return bool(found[0] & 1)
"""


@pytest.mark.slow
def test_zeros_are_given_back_and_what_holds_something_stays(fresh: Fresh) -> None:
    code = """
memory[:] = bytes(70 * B)
memory[9 * B + 5] = 1
memory[70 * B - 1] = 2
pages.release_zeros()
print(*[present(block) for block in (3, 9, 30, 69)])
print(memory[9 * B + 5], memory[70 * B - 1], sum(memory[:]))
"""
    assert fresh(BEGIN + code).stdout.splitlines() == ["False True False True", "1 2 3"]


@pytest.mark.slow
def test_memory_that_got_a_sound_or_went_away_is_left_alone(fresh: Fresh) -> None:
    code = """
memory[:] = bytes(70 * B)
silent, sounding, gone = ((first + n * B, first + (n + 10) * B) for n in (0, 20, 40))
memory[25 * B] = 7
assert pages._libc.munmap(ctypes.c_void_p(gone[0]), B) == 0
pages.Pages(zeros=[silent, sounding, gone]).give_back()
print(present(5), present(25), memory[25 * B])
pages.Pages(written=[silent, gone]).obtain()
print(present(5), memory[5 * B])
os._exit(os.EX_OK if not sys.stdout.flush() else 1)
"""
    assert fresh(BEGIN + code).stdout.splitlines() == ["False True 7", "True 0"]


@pytest.mark.slow
def test_a_child_knows_what_it_has_written(fresh: Fresh) -> None:
    code = """
memory[:] = bytes([1]) * (70 * B)
if not os.fork():
    memory[10 * B : 20 * B] = bytes([2]) * (10 * B)
    memory[40 * B] = 2  # a page alone isn't worth a call
    print(*inside(pages.written()), flush=True)
    os._exit(0)
os.wait()
"""
    assert fresh(BEGIN + code).stdout == "(10, 20)\n"


@pytest.mark.slow
def test_a_zygote_learns_from_a_child_which_pages_a_render_writes(fresh: Fresh) -> None:
    code = """
import os, vita
from synthcore.engine import pages, zygote
synth = vita.Synth()
synth.render(60, 0.8, 0.1, 0.2)
released = pages.release_zeros()
known = pages.Pages.of(zygote.scout(synth, zygote.Answers(1, 1 << 20)), released)
megabytes = [sum(stop - start for start, stop in spans) / 1e6 for spans in (known.written, known.zeros)]
print([8 < some < 40 for some in megabytes], flush=True)
os._exit(0)
"""
    assert fresh(code).stdout == "[True, True]\n"  # the delay lines


def test_only_zeros_that_are_written_are_given_back_again() -> None:
    known = Pages.of([(0, 100), (200, 300)], [(50, 60), (90, 250), (300, 400)])
    assert known == Pages([(0, 100), (200, 300)], [(50, 60), (90, 100), (200, 250)])

"""As many renderers as cores, fewer where memory is short; more are obeyed, and a line says what they exceed."""

from __future__ import annotations

import pytest

from synthcore.base.resources import Resources
from synthcore.engine.capacity import RENDERERS, remark_on, renderers_within
from synthcore.flows.cli import main
from synthcore.pipeline.doctor import of_resources


def allowed(cores: int, gigabytes: float) -> Resources:
    return Resources(cores, "/sys/fs/cgroup/cpu.max", int(gigabytes * 1e9), "/sys/fs/cgroup/memory.max")


@pytest.mark.parametrize(
    ("cores", "gigabytes", "renderers"),
    [(1, 1.0, 1), (8, 64.0, 8), (8, 1.0, 2), (8, 1.6, 5), (8, 0.7, 1), (1, 0.1, 1)],
)
def test_renderers_keep_cores_busy_and_fit_into_memory(cores: int, gigabytes: float, renderers: int) -> None:
    assert renderers_within(allowed(cores, gigabytes)) == renderers


def test_workers_that_fit_need_no_remark() -> None:
    assert remark_on(2, allowed(2, 4.0)) == ""


def test_a_remark_names_each_limit_that_is_exceeded() -> None:
    few_cores, little_memory = remark_on(4, allowed(1, 4.0)), remark_on(4, allowed(8, 1.0))
    assert few_cores == "4 workers start, but only 1 would by default: 1 core (/sys/fs/cgroup/cpu.max) may be used"
    assert "only 2 would by default: 1.0 GB of memory (/sys/fs/cgroup/memory.max) may be used" in little_memory
    assert remark_on(20, allowed(1, 0.8)).endswith(
        "only 1 would by default: 1 core (/sys/fs/cgroup/cpu.max) and 0.8 GB of memory (/sys/fs/cgroup/memory.max) "
        "may be used"
    )


def test_a_command_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    main(["verify", "no.h5", "--workers", "1000"])
    first, *_ = capsys.readouterr().err.splitlines()
    assert first.startswith(f"1000 workers start, but only {RENDERERS} would by default: ")
    main(["verify", "no.h5", "--workers", str(RENDERERS)])
    assert "workers" not in capsys.readouterr().err


def test_the_doctor_says_what_may_be_used_and_warns_of_too_little_memory() -> None:
    (enough,), (little,) = of_resources(allowed(2, 4.0)), of_resources(allowed(2, 0.5))
    assert enough.state == "ok"
    assert enough.what == (
        "2 cores (/sys/fs/cgroup/cpu.max) and 4.0 GB of memory (/sys/fs/cgroup/memory.max) may be used: "
        "2 renderers at a time"
    )
    assert (little.state, "allow 0.8 GB" in little.todo) == ("warning", True)

"""What a process may use is the tightest of all limits that hold for it, in either version of cgroups."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

from synthcore.base.resources import Resources, resources, resources_within

V2 = "30 23 0:26 {mounted} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 {mounted} /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "33 31 0:30 {mounted} /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
    "34 31 0:32 {mounted} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)
V1_GROUPS = "4:memory:{path}\n3:cpuset:/\n2:cpu,cpuacct:{path}\n1:name=systemd:{path}\n"
GIB = 1 << 30


def machine(root: Path, mounts: str, groups: str, files: Mapping[str, str]) -> Resources:
    """What may be used of 8 cores and 16 GiB, given mounts, groups and the files under /sys/fs/cgroup."""
    content = {"proc/self/mountinfo": mounts, "proc/self/cgroup": groups}
    content |= {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    for name, text in content.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return resources_within(root, 8, 16 * GIB)


def test_without_cgroups_it_is_the_machines(tmp_path: Path) -> None:
    assert resources_within(tmp_path, 8, GIB) == Resources(8, "this machine", GIB, "this machine")


@pytest.mark.parametrize(("quota", "cores"), [(50, 1), (100, 1), (150, 1), (399, 3), (400, 4), (1200, 8)])
def test_a_quota_is_rounded_down_but_not_to_nothing(quota: int, cores: int, tmp_path: Path) -> None:
    files = {"cpu.max": f"{quota}000 100000\n", "memory.max": "max\n"}
    found = machine(tmp_path, V2.format(mounted="/"), "0::/\n", files)
    assert (found.cores, found.memory_bytes) == (cores, 16 * GIB)


def test_a_group_is_bound_by_those_around_it(tmp_path: Path) -> None:
    files = {
        "a/cpu.max": "200000 100000\n",
        "a/memory.max": f"{2 * GIB}\n",
        "a/b/cpu.max": "max 100000\n",
        "a/b/memory.max": f"{GIB}\n",
        "a/b/c/cpu.max": "600000 100000\n",
        "a/b/c/memory.max": "max\n",
        "other/memory.max": "1000\n",
    }
    found = machine(tmp_path, V2.format(mounted="/"), "0::/a/b/c\n", files)
    assert found == Resources(2, "/sys/fs/cgroup/a/cpu.max", GIB, "/sys/fs/cgroup/a/b/memory.max")


@pytest.mark.parametrize(
    ("mounted", "path", "folder"),
    [
        ("/", "/docker/x", "docker/x/"),
        ("/docker/x", "/docker/x", ""),  # the container sees its own group as the whole tree
        ("/", "/", ""),  # in a namespace of its own
        ("/docker/x", "/elsewhere", ""),
    ],
)
def test_version_1_has_a_tree_for_each_controller(mounted: str, path: str, folder: str, tmp_path: Path) -> None:
    files = {
        f"cpu,cpuacct/{folder}cpu.cfs_quota_us": "250000\n",
        f"cpu,cpuacct/{folder}cpu.cfs_period_us": "100000\n",
        f"memory/{folder}memory.limit_in_bytes": f"{GIB}\n",
    }
    found = machine(tmp_path, V1.format(mounted=mounted), V1_GROUPS.format(path=path), files)
    quota, limit = f"cpu,cpuacct/{folder}cpu.cfs_quota_us", f"memory/{folder}memory.limit_in_bytes"
    assert found == Resources(2, f"/sys/fs/cgroup/{quota}", GIB, f"/sys/fs/cgroup/{limit}")


def test_version_1_without_a_limit(tmp_path: Path) -> None:
    files = {
        "cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
        "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
    }
    found = machine(tmp_path, V1.format(mounted="/"), V1_GROUPS.format(path="/"), files)
    assert found == Resources(8, "this machine", 16 * GIB, "this machine")


def test_lines_of_another_form_are_passed_over(tmp_path: Path) -> None:
    files = {"cpu.max": "100000\n", "memory.max": f"{GIB}\n"}
    found = machine(tmp_path, "odd\n1 - cgroup2\n" + V2.format(mounted="/"), "odd\n0::/\n", files)
    assert found == Resources(8, "this machine", GIB, "/sys/fs/cgroup/memory.max")


def test_this_process_may_use_no_more_than_its_machine_has() -> None:
    assert 1 <= resources().cores <= (os.cpu_count() or 1)
    assert 100_000_000 < resources().memory_bytes <= psutil.virtual_memory().total

"""Errors: how a command ends by each, and which of them end a whole run."""

from __future__ import annotations

import errno
import os
import pickle
from pathlib import Path

import pytest

from synthcore.base import errors
from synthcore.base.atomic import atomic_path, disk_errors_of
from synthcore.base.errors import DamagedShard, DiskError, SynthcoreError
from synthcore.flows.running.command import exit_code_of

CORRECTABLE = {
    "SynthcoreError",
    "SpecError",
    "DatasetError",
    "DamagedShard",
    "NewerDataset",
    "FileUnavailable",
    "DiskError",
    "PresetError",
    "EngineMismatch",
}
OF_ONE_SHARD = {"RenderError", "Accident", "LowAcceptance", "IncompleteDataset"}
CLASSES = {
    name: found for name, found in vars(errors).items() if isinstance(found, type) and issubclass(found, SynthcoreError)
}


@pytest.mark.parametrize("name", CLASSES)
def test_a_command_ends_with_2_where_its_user_can_correct_it_and_else_with_1(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> int:
        raise CLASSES[name]("what is wrong")

    assert exit_code_of("verify", fail) == (2 if name in CORRECTABLE else 1)
    assert capsys.readouterr().err.startswith("synthcore: what is wrong")


@pytest.mark.parametrize("name", CLASSES)
def test_only_what_befalls_a_shard_leaves_the_run_going(name: str) -> None:
    assert CLASSES[name].affects_whole_run is (name not in OF_ONE_SHARD)


def test_a_damaged_shard_keeps_its_name_on_its_way_between_processes() -> None:
    assert pickle.loads(pickle.dumps(DamagedShard("x.h5"))).name == "x.h5"


def test_a_full_disk_is_an_error_of_its_own(tmp_path: Path) -> None:
    full = "can't write .*out.h5: No space left on device; nothing was left half-written"
    with pytest.raises(DiskError, match=full), disk_errors_of(tmp_path / "out.h5"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    (tmp_path / "file").touch()
    with pytest.raises(DiskError, match="can't write"), atomic_path(tmp_path / "file" / "out.h5"):
        pass

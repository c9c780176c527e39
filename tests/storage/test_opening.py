"""A file that is whole but can't be opened now: the reason is said, and nobody is told to replace it."""

from __future__ import annotations

import pickle
import shutil
import tempfile
from itertools import takewhile
from pathlib import Path

import h5py
import numpy as np
import pytest

from synthcore.base.errors import DatasetError, FileUnavailable, SynthcoreError
from synthcore.pipeline.cache import Records, prune, survey
from synthcore.pipeline.continuing import grown, require_continuable
from synthcore.sources.collection import Collection
from synthcore.storage import collection, weights
from synthcore.storage.dataset import Dataset
from synthcore.storage.opening import reason_of
from synthcore.storage.refs import ShardRef
from synthcore.storage.weights import Weights

WRITING = r"another program is writing it: wait, or set HDF5_USE_FILE_LOCKING=FALSE on file systems without locks$"
IN_USE = r"another program has it open: wait, or set HDF5_USE_FILE_LOCKING=FALSE on file systems without locks$"


@pytest.fixture
def shards(tier_1, tmp_path):
    """Two shards that may be locked, beside a view of them."""
    shutil.copytree(tier_1.data_dir / "shards", tmp_path / "shards")
    tier_1.merge(tmp_path / "view.h5", data_dir=tmp_path, mode="virtual")
    return tmp_path


@pytest.mark.slow
def test_a_dataset_that_is_being_written_is_said_to_be(tier_1, forge, held):
    path = forge(tier_1)
    again = pickle.dumps(Dataset(path))
    with held(path):
        with pytest.raises(FileUnavailable, match=rf"^can't read {path}: {WRITING}"):
            Dataset(path)
        with pytest.raises(FileUnavailable, match=WRITING):
            len(pickle.loads(again))
    assert len(Dataset(path)) == 15


@pytest.mark.slow
def test_an_output_that_is_being_written_is_not_to_be_replaced(tier_1, forge, held):
    path = forge(tier_1)
    with held(path):
        for ask in (
            lambda: require_continuable(path, tier_1.spec, overwrite=False),
            lambda: grown(tier_1.spec, path, 10),
            lambda: tier_1.ref.model_copy(update={"path": str(path)}).is_intact(),
        ):
            with pytest.raises(FileUnavailable, match=WRITING):
                ask()
    require_continuable(path, tier_1.spec, overwrite=False)


@pytest.mark.slow
def test_weights_are_not_written_into_a_file_that_is_held(tier_1, forge, held):
    path = forge(tier_1)
    continuous, categorical = np.ones(322, "f4"), np.ones(126, "f4")
    some = Weights(continuous, categorical, continuous, categorical, method={})
    with held(path):
        for write in (lambda: weights.write(path, some), lambda: weights.require_reserved(path)):
            with pytest.raises(FileUnavailable, match=rf"^can't write into {path}: {IN_USE}"):
                write()
    with Dataset(path), pytest.raises(FileUnavailable, match="this program has it open for reading: close it first$"):
        weights.require_reserved(path)
    path.write_bytes(b"text")
    with pytest.raises(DatasetError, match="not a whole HDF5 file"):
        weights.require_reserved(path)


@pytest.mark.slow
def test_a_shard_that_is_held_is_neither_lost_nor_damaged(tier_1, shards, held):
    ref = tier_1.shards[1]
    with held(shards / ref.name):
        for ask in (
            lambda: ref.is_intact(shards),
            lambda: ShardRef.of(shards, ref.name, ref.source),
            lambda: Dataset(shards / "view.h5")[:],
        ):
            with pytest.raises(FileUnavailable, match=WRITING):
                ask()
    assert ref.is_intact(shards)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["copy", "virtual"])
def test_a_merge_says_which_shard_is_held_and_leaves_nothing(tier_1, shards, held, mode):
    ref = tier_1.shards[1]
    with held(shards / ref.name), pytest.raises(SynthcoreError, match=rf"^can't read {shards / ref.name}: {WRITING}"):
        tier_1.merge(shards / "x.h5", data_dir=shards, mode=mode)
    assert {path.name for path in shards.iterdir()} == {"shards", "view.h5"}


@pytest.mark.slow
def test_nothing_is_cleared_away_while_a_file_is_held_that_may_need_it(tier_1, shards, held):
    view = tier_1.ref.model_copy(update={"path": str(shards / "view.h5")})
    for path in (shards / "view.h5", shards / tier_1.shards[0].name):
        with held(path), pytest.raises(FileUnavailable, match=WRITING):
            prune_all(shards, view)
    assert prune_all(shards, view) == []


def prune_all(folder, view):
    cache = survey(folder, Records({}, {"results/merge": view}))
    return [e.path for e in prune(cache, older_than=0, spec="", other_engines=False, dry_run=False).entries]


@pytest.mark.slow
def test_a_collection_that_is_being_written_is_said_to_be(tmp_path, held):
    path = tmp_path / "presets.h5"
    collection.write_collection(path, Collection((), {}, {}))
    with held(path):
        for read in (lambda: collection.digest_of(path), lambda: collection.read_collection(path)):
            with pytest.raises(FileUnavailable, match=WRITING):
                read()


FORBIDDEN = """
import os
from synthcore import Dataset
from synthcore.base.errors import SynthcoreError
if not os.geteuid():
    os.seteuid(65534)  # what is forbidden is not forbidden to root
try:
    Dataset(sys.argv[1])
except SynthcoreError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.slow
def test_what_may_not_be_read_is_said_to_be_forbidden(tier_1, fresh):
    folder = Path(tier_1.path.parent, "forbidden")
    folder.mkdir()
    for parent in takewhile(lambda parent: parent != Path(tempfile.gettempdir()), folder.parents):
        parent.chmod(parent.stat().st_mode | 0o011)
    path = Path(shutil.copy(tier_1.path, folder / "x.h5"))
    path.chmod(0)
    said = fresh(FORBIDDEN, path).stdout
    assert said.startswith(f"FileUnavailable can't read {path}: Permission denied; change its permissions")
    assert "another program" not in said


TOO_MANY = """
import os, resource
from synthcore import Dataset
from synthcore.base.errors import SynthcoreError
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
held = []
try:
    while True:
        held.append(open(os.devnull))
except OSError:
    pass
try:
    Dataset(sys.argv[1])
except SynthcoreError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.slow
def test_one_file_too_many_is_not_damage(tier_1, fresh):
    said = fresh(TOO_MANY, tier_1.path).stdout
    assert said.startswith(f"FileUnavailable can't read {tier_1.path}: Too many open files: close some, or raise")


@pytest.mark.slow
def test_a_lock_that_is_held_costs_one_line(tier_1, forge, held, capsys):
    from synthcore.flows.cli import main

    path = forge(tier_1)
    before = path.read_bytes()
    with held(path):
        for command in (
            ["inspect", path],
            ["compute-weights", path, "--n-base", 3],
            ["export", path, 0, "-o", path.with_name("rows")],
            ["recipe", path, "-o", path.with_name("recipe.h5")],
        ):
            assert main([*map(str, command)]) == 2
            said = capsys.readouterr()
            assert (said.out, said.err.count("\n")) == ("", 1)
            assert "another program" in said.err
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.slow
def test_a_file_that_is_only_read_elsewhere_is_read(tier_1, fresh):
    code = "from synthcore import Dataset; print(len(Dataset(sys.argv[1])))"
    with h5py.File(tier_1.path):
        assert fresh(code, tier_1.path).stdout == "15\n"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError("\nunable to open\n  and how"), "unable to open"),
        (MemoryError(), "MemoryError"),
        (KeyError("x"), "'x'"),
    ],
    ids=repr,
)
def test_whatever_error_comes_its_reason_is_a_line(error, reason):
    assert reason_of(error) == reason

"""Datasets behind addresses: the same rows as here, with few requests, and one line for everything that fails."""

from __future__ import annotations

import gc
import multiprocessing
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from synthcore.base import ranges, remote
from synthcore.base.errors import DatasetError, FileUnavailable, SynthcoreError
from synthcore.flows.cli import main
from synthcore.storage.dataset import Dataset
from tests.servers import FileServer, serving

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def server(tier_1: Any, tmp_path: Path) -> Iterator[FileServer]:
    shutil.copy(tier_1.path, tmp_path / "demo.h5")
    with serving(tmp_path) as served:
        yield served


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "WAITS", (0.01, 0.01))


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(one[name].tobytes() == other[name].tobytes() for name in one)


@pytest.mark.slow
def test_every_row_is_the_same_as_here(server: FileServer, each_tier: Any) -> None:
    shutil.copy(each_tier.path, server.folder / "demo.h5")
    with Dataset(each_tier.path) as here, Dataset(server.url("demo.h5")) as there:
        assert len(there) == 15
        assert there.digest == here.digest
        assert same(there[3], here[3])
        assert same(there[[12, 0, 5, 5]], here[[12, 0, 5, 5]])
        assert same(there[2:11], here[2:11])
        assert same(there[:], here[:])
        assert there.patch(7).hash == here.patch(7).hash
        assert there.assets_of(there.patch(7)) == here.assets_of(here.patch(7))


@pytest.mark.slow
def test_a_row_or_a_batch_takes_few_requests(server: FileServer) -> None:
    url = server.url("demo.h5")
    with server.counting() as opening:
        dataset = Dataset(url)
    assert 1 <= len(opening) <= 3
    with server.counting() as labels:
        _ = dataset.spec, dataset.registry, dataset.column("continuous"), dataset.column("preset_hash")
    assert len(labels) <= 3
    with server.counting() as row:
        dataset[3]
    assert len(row) <= 3
    with server.counting() as again:
        dataset.column("midi_note"), dataset.column("continuous")
    assert again == []
    with server.counting() as batch:
        dataset.column("audio", [0, 4, 8, 12])
    assert 1 <= len(batch) <= 4
    size = sum(last + 1 - first for first, last in batch)
    assert size <= 4 * (dataset.column("audio", [0]).nbytes + ranges.APART)
    dataset.close()


def test_rows_that_follow_each_other_come_with_one_request(server: FileServer) -> None:
    with Dataset(server.url("demo.h5")) as dataset:
        dataset.column("audio", [0])
        with server.counting() as asked:
            dataset.column("audio")
    assert len(asked) <= 2


@pytest.mark.slow
def test_large_chunks_and_older_files_are_read_as_well(server: FileServer, tier_1: Any, tmp_path: Path) -> None:
    large = tier_1.merge(tmp_path / "large.h5", chunk_rows=4)
    with h5py.File(large.path, "r+") as file:
        del file["metadata/note_seconds"], file["metadata/bpm"]
        file["schema"].attrs["version"] = "4.0.0"
    with Dataset(large.path) as here, Dataset(server.url("large.h5")) as there:
        assert same(there[[1, 9, 14]], here[[1, 9, 14]])
        assert same(there[:], here[:])  # so many chunks that their places are read first


def require_audio(dataset: Dataset, expected: np.ndarray) -> None:
    assert np.array_equal(dataset.column("audio", [5]), expected)


@pytest.mark.slow
def test_it_survives_a_fork_and_pickling(server: FileServer) -> None:
    dataset = Dataset(server.url("demo.h5"))
    expected = dataset.column("audio", [5])
    assert np.array_equal(pickle.loads(pickle.dumps(dataset)).column("audio", [5]), expected)
    child = multiprocessing.get_context("fork").Process(target=require_audio, args=(dataset, expected))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert np.array_equal(dataset.column("audio", [5]), expected)


@pytest.mark.slow
def test_a_program_that_leaves_it_open_ends_well(server: FileServer, fresh: Any) -> None:
    code = """
from synthcore import Dataset
dataset = Dataset(sys.argv[1])
print(dataset.column("midi_note")[:2])
"""
    assert fresh(code, server.url("demo.h5")).stdout == "[48 60]\n"


@pytest.mark.slow
def test_a_server_that_fails_for_a_moment_is_asked_again(server: FileServer, impatient: None) -> None:
    with Dataset(server.url("demo.h5")) as dataset:
        server.dies_after = len(server.asked)
        server.lives_again_after = 1
        assert dataset.column("audio", [0]).any()
    assert server.cut == 1


def test_a_server_that_dies_midway_costs_one_line(server: FileServer, impatient: None) -> None:
    with Dataset(server.url("demo.h5")) as dataset:
        server.dies_after = 0
        with pytest.raises(FileUnavailable, match=r"can't read http://127.*/demo.h5: .* \(tried 3 times\); try again"):
            dataset[3]
        server.dies_after = None
        assert dataset[3]["audio"].any()
    assert server.cut == 3


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_garbage_of_hdf5_in_a_thread_that_fetches_stops_nothing(server: FileServer, tier_1: Any) -> None:
    collected: list[bool] = []

    class Litter:
        holds: tuple[Any, ...]

        def __del__(self) -> None:
            collected.append(True)

    def litter() -> None:
        litter = Litter()
        litter.holds = litter, h5py_objects.pop()
        del litter
        _ = [[] for _ in range(5000)]  # enough for Python to look for garbage

    with h5py.File(tier_1.path) as file:
        h5py_objects = [file["metadata/midi_note"].id for _ in range(20)]
        server.meanwhile = litter
        with Dataset(server.url("demo.h5")) as dataset:
            assert len(dataset.column("continuous")) == 15
    server.meanwhile = lambda: None
    gc.collect()
    assert len(collected) == 20 - len(h5py_objects)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"refuses": 403}, "can't read ADDRESS: its server forbids it (403); give credentials in ~/.netrc"),
        ({"refuses": 401}, "can't read ADDRESS: its server forbids it (401)"),
        ({"refuses": 404}, "there is no file ADDRESS; name another"),
        ({"refuses": 400}, "its server says 400"),
        ({"refuses": 503}, "(tried 3 times); try again when its server answers"),
        ({"has_ranges": False}, "its server gives no parts of a file (HTTP ranges); download it, and name the copy"),
    ],
)
@pytest.mark.parametrize("command", ["inspect", "verify", "diff"])
def test_what_a_server_refuses_costs_one_line(
    command: str,
    how: dict[str, Any],
    says: str,
    server: FileServer,
    impatient: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in how.items():
        setattr(server, name, value)
    url = server.url("demo.h5")
    assert main([command, url, *[url] * (command == "diff")]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert says.replace("ADDRESS", url) in err


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"no dataset at all", "is not an HDF5 file"), (b"", "is not an HDF5 file"), (None, "is truncated")],
)
def test_a_file_that_is_something_else_is_refused_as_it_would_be_here(
    content: bytes | None, says: str, server: FileServer
) -> None:
    file = server.folder / "demo.h5"
    file.write_bytes(file.read_bytes()[:-5000] if content is None else content)
    with pytest.raises(DatasetError, match=f"/demo.h5 {says}"):
        Dataset(server.url("demo.h5"))


def test_damage_is_found_as_it_would_be_here(server: FileServer) -> None:
    with h5py.File(server.folder / "demo.h5") as file:
        chunk = file["audio/waveforms"].id.get_chunk_info_by_coord((3, 0, 0))
    with (server.folder / "demo.h5").open("r+b") as file:
        file.seek(chunk.byte_offset)
        file.write(bytes(chunk.size))
    with Dataset(server.url("demo.h5")) as dataset:
        assert dataset[2]["audio"].any()
        with pytest.raises(DatasetError, match="/demo.h5 is damaged: row 3 of audio/waveforms can't be read"):
            dataset[3]


def test_a_column_that_was_never_written_is_not_zeros(server: FileServer) -> None:
    with h5py.File(server.folder / "demo.h5", "r+") as file:
        column = file["params/continuous"]
        shape, chunks = column.shape, column.chunks
        del file["params/continuous"]
        file["params"].create_dataset("continuous", shape, "<f4", chunks=chunks)
    with (
        Dataset(server.url("demo.h5")) as dataset,
        pytest.raises(DatasetError, match="a part of params/continuous was never written"),
    ):
        dataset[3]


def test_a_file_that_is_replaced_meanwhile_is_not_mixed_with_the_new_one(server: FileServer, tier_2: Any) -> None:
    with Dataset(server.url("demo.h5")) as dataset:
        shutil.copy(tier_2.path, server.folder / "demo.h5")
        with pytest.raises(DatasetError, match="has been replaced since it was opened; open it again"):
            dataset[3]


@pytest.mark.slow
def test_a_dataset_that_refers_to_shards_says_so(server: FileServer, tier_1: Any) -> None:
    view = tier_1.merge(tier_1.data_dir / "afar-view.h5", mode="virtual")
    shutil.copy(view.path, server.folder / "view.h5")
    with pytest.raises(DatasetError, match="only refers to its shards, .* merge it with --merge copy"):
        Dataset(server.url("view.h5"))


@pytest.mark.slow
def test_a_password_opens_the_file_and_is_never_said(
    server: FileServer, impatient: None, capsys: pytest.CaptureFixture[str]
) -> None:
    server.only_for = "Basic bWU6aHVudGVyMg=="  # me:hunter2
    url = server.url("demo.h5").replace("127.0.0.1", "me:hunter2@127.0.0.1") + "?token=abcd"
    with Dataset(url) as dataset:
        assert dataset[3]["audio"].any()
        assert "***" in repr(dataset)
        said = [repr(dataset), str(dataset.path)]
        server.dies_after = 0
        with pytest.raises(SynthcoreError) as failed:
            dataset[4]
        said.append(str(failed.value))
        server.dies_after = None
    assert main(["inspect", url]) == 0
    said += capsys.readouterr()
    server.only_for = "Basic other"
    assert main(["inspect", url]) == 2
    said += capsys.readouterr()
    assert [text for text in said if "hunter2" in text or "abcd" in text] == []


@pytest.mark.slow
def test_without_the_extra_one_line_says_what_to_install(server: FileServer, fresh: Any) -> None:
    code = """
from synthcore.flows.cli import main
print(main(["inspect", sys.argv[1]]))
"""
    done = fresh(code, server.url("demo.h5"), without=("fsspec",))
    assert done.stdout == "2\n"
    assert done.stderr == "synthcore: files behind addresses need fsspec and s3fs: pip install 'synthcore[remote]'\n"


@pytest.mark.parametrize("command", ["features", "compute-weights", "recipe", "render", "compare"])
def test_what_needs_the_file_here_says_so(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = {"recipe": ["-o", "x.h5"], "render": ["-o", "x.h5"], "features": ["--sketch"]}
    assert main([command, "https://example.org/demo.h5", *words.get(command, [])]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "https://example.org/demo.h5 can be read from there, but not for this: download it" in err

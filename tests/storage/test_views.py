"""Virtual datasets: every row is read from its shard or refused by name; zeros never stand in for one."""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from synthcore.base.errors import DatasetError
from synthcore.engine.chunk import deflate
from synthcore.engine.machine import engine
from synthcore.engine.rendering import Performance, RenderedRow
from synthcore.pipeline import library
from synthcore.publishing.recipe import write_recipe
from synthcore.sources.synthetic import SyntheticSource, drawn_with
from synthcore.spec import AudioSpec, DatasetSpec
from synthcore.storage.dataset import Dataset
from synthcore.storage.dense import DENSE
from synthcore.storage.drawing import Drawing, StoredPriors
from synthcore.storage.merge import merge_shards
from synthcore.storage.opening import new_file
from synthcore.storage.refs import ShardRef
from synthcore.storage.schema import AUDIO, Header
from synthcore.storage.views import OPEN
from synthcore.storage.writer import ShardWriter
from synthcore.vital.catalog import builtin
from synthcore.vital.controls import installed
from tests.children import wait_status
from tests.conftest import ROOT

#: More than files may be open below. The same happens with 300 shards and 256 files, the limit of many systems.
SHARDS, FILES = 90, 64
#: Too short to be rendered: what is in these shards doesn't matter, only that it comes back.
TINY = AudioSpec(sample_rate=8000, notes=(60,), note_seconds=0.01, render_seconds=0.01)
SOUNDS = np.random.default_rng(0).uniform(0.1, 0.9, (SHARDS, 2, 80)).astype("<f4")


@dataclass(frozen=True)
class Scattered:
    """A dataset whose rows lie in a shard each."""

    path: Path
    data_dir: Path
    shards: list[ShardRef]

    def shard(self, row):
        return self.data_dir / self.shards[row].name

    def copy(self, folder):
        shutil.copytree(self.data_dir, folder, dirs_exist_ok=True)
        return replace(self, path=folder / self.path.name, data_dir=folder)


def row_of(sound):
    digest = hashlib.sha256(sound.tobytes()).hexdigest()
    return RenderedRow(
        Performance(60, 100, 0.01), rms_dbfs=-6.0, peak=float(sound.max()), audio_sha256=digest, chunk=deflate(sound)
    )


def scatter(folder, sounds):
    """Write a shard with the real writer, make one for each sound of it, and merge them to a view."""
    registry, spec = installed(), DatasetSpec(n_samples=len(sounds), audio=TINY)
    sampler, shards = SyntheticSource(spec, registry), []
    with new_file(folder / "first.h5") as file:
        drawing = Drawing(StoredPriors.of(sampler.marginals), sampler.priors, drawn_with())
        writer = ShardWriter(file, Header(spec, registry, engine(), drawing), builtin(), patches=1)
        writer.append(sampler.candidate(0, 0), (row_of(sounds[0]),), sampler.assets)
        writer.finish({}, [])
    for place, sound in enumerate(sounds):
        name = hashlib.sha256(b"%d" % place).hexdigest()
        ref, row = f"shards/{name[:2]}/{name}.h5", row_of(sound)
        (folder / ref).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "first.h5", folder / ref)
        with h5py.File(folder / ref, "r+") as file:
            file[AUDIO].id.write_direct_chunk((0, 0, 0), row.chunk)
            file["metadata/audio_sha256"][0] = row.audio_sha256.encode()
        shards.append(ShardRef.of(folder, ref, "synthetic"))
    merged = merge_shards(shards, folder / "x.h5", library.merge_context(spec, folder), mode="virtual")
    return Scattered(Path(merged.path), folder, shards)


@pytest.fixture(scope="module")
def scattered(tmp_path_factory):
    return scatter(tmp_path_factory.mktemp("scattered"), SOUNDS)


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    return scatter(tmp_path_factory.mktemp("four"), SOUNDS[:4])


@pytest.fixture
def few(four, tmp_path):
    """Four rows in four shards, to be damaged."""
    return four.copy(tmp_path / "few")


LIMITED = """
import hashlib, pickle, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
import numpy as np
from synthcore import Dataset

def is_right(batch):
    hashes = [hashlib.sha256(audio.tobytes()).hexdigest().encode() for audio in batch["audio"]]
    return hashes == batch["audio_sha256"].tolist()

with Dataset(sys.argv[1]) as dataset:
    every = {"audio_sha256": dataset.column("audio_sha256")}
    assert len(dataset) == 90
    assert is_right(every | {"audio": dataset.column("audio")})
    assert is_right(every | {"audio": np.stack([row["audio"] for row in dataset])})
    assert is_right(dataset[:]) and is_right(dataset[::7]) and is_right(dataset[[89, 0, 17, 89]])
    assert all(is_right(batch) for batch in dataset.batches(64))
    assert is_right(pickle.loads(pickle.dumps(dataset))[:])
"""


@pytest.mark.slow
def test_more_shards_than_files_may_be_open_are_read_in_every_way(scattered, fresh):
    fresh(LIMITED, scattered.path)


@pytest.mark.long
def test_more_shards_than_files_may_be_open_are_trained_with(scattered, fresh):
    pytest.importorskip("torch")
    code = """
import hashlib, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
from torch.multiprocessing import set_sharing_strategy
from torch.utils.data import DataLoader
from synthcore import Dataset
from synthcore.training.torch import BatchStream, Examples, Order, RowDataset

set_sharing_strategy("file_system")  # else torch itself opens a file for each tensor
with Dataset(sys.argv[1]) as dataset:
    hashes = dataset.column("audio_sha256").tolist()
examples = Examples(sys.argv[1])
loaders = [DataLoader(BatchStream(examples, Order(32)), batch_size=None, num_workers=2)]
loaders += [DataLoader(RowDataset(examples), batch_size=32, shuffle=True)]
for loader in loaders:
    seen = 0
    for batch in loader:
        for row, audio in zip(batch["row"].tolist(), batch["audio"].numpy()):
            assert hashlib.sha256(audio.tobytes()).hexdigest().encode() == hashes[row]
            seen += 1
    assert seen == 90
"""
    fresh(code, scattered.path)


@pytest.mark.slow
def test_few_shards_are_open_at_a_time(scattered):
    if not Path("/proc/self/fd").exists():
        pytest.skip("this system doesn't list what a process has open")

    def open_shards():
        links = [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]
        return sum(link.startswith(f"{scattered.data_dir.resolve()}/shards") for link in links)

    with Dataset(scattered.path) as dataset:
        assert_array_equal(dataset.column("audio"), SOUNDS)
        assert open_shards() == OPEN
    assert open_shards() == 0


@pytest.mark.slow
def test_a_process_forked_off_opens_the_shards_for_itself(scattered):
    with Dataset(scattered.path) as dataset:
        assert_array_equal(dataset[5]["audio"], SOUNDS[5])
        assert wait_status(lambda: assert_array_equal(dataset[[5, 6]]["audio"], SOUNDS[5:7])) == 0
        assert_array_equal(dataset[6]["audio"], SOUNDS[6])


@pytest.mark.slow
def test_a_link_to_a_dataset_finds_its_shards(few, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.h5"
    link.symlink_to(few.path)
    with Dataset(link) as dataset:
        assert_array_equal(dataset.column("audio"), SOUNDS[:4])


@pytest.mark.slow
def test_a_dataset_that_is_closed_reads_no_more(few):
    dataset = Dataset(few.path)
    dataset.close()
    with pytest.raises(ValueError, match="is closed"):
        dataset[0]


# ------------------------------------------------------------------------------------------- what can't be read is said


def damage_row(path):
    with h5py.File(path, "r+") as file:
        file[AUDIO].id.write_direct_chunk((0, 0, 0), b"no zlib stream")


def drop_row(path):
    """As a copy that stopped: the row's chunk was never written."""
    with h5py.File(path, "r+") as file:
        file[AUDIO].resize(0, axis=0)
        file[AUDIO].resize(1, axis=0)


def silence_row(path):
    with h5py.File(path, "r+") as file:
        file[AUDIO][...] = 0


def drop_audio(path):
    with h5py.File(path, "r+") as file:
        del file[AUDIO]


def shorten(path):
    with h5py.File(path, "r+") as file:
        file[AUDIO].resize(0, axis=0)


HARM = {
    "gone": (lambda path: path.unlink(), r"refers to the shard .*\.h5, which is gone"),
    "empty": (lambda path: path.write_bytes(b""), r"refers to the shard .*\.h5, which is damaged"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "refers to the shard .*, which is gone"),
    "without audio": (drop_audio, r"refers to the shard .*\.h5, which has fewer than 1 row of audio/waveforms"),
    "shorter": (shorten, r"refers to the shard .*\.h5, which has fewer than 1 row of audio/waveforms"),
    "a row damaged": (damage_row, r"refers to a damaged shard: .*row 0 of audio/waveforms can't be read"),
    "a row never written": (drop_row, r"refers to a damaged shard: .*row 0 of audio/waveforms can't be read"),
    "a row of zeros": (silence_row, r"x\.h5 is damaged: row 2 of audio/waveforms reads as zeros"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("harm", "said"), HARM.values(), ids=HARM)
def test_a_shard_that_is_harmed_while_its_dataset_is_open_is_named(few, harm, said):
    with Dataset(few.path) as dataset:
        harm(few.shard(2))
        assert_array_equal(dataset[[0, 1, 3]]["audio"], SOUNDS[[0, 1, 3]])
        for read in (lambda: dataset[2], lambda: dataset[:], lambda: dataset.column("audio", [2]), lambda: [*dataset]):
            with pytest.raises(DatasetError, match=said) as found:
                read()
            assert str(found.value).endswith("(generate takes --refresh merge)")
            assert len(str(found.value).splitlines()) == 1


@pytest.mark.slow
def test_a_shard_replaced_by_another_is_not_taken_for_it(few):
    shutil.copy(few.shard(1), few.shard(2))
    with Dataset(few.path) as dataset, pytest.raises(DatasetError, match="holds other rows: it has been replaced"):
        dataset.column("audio")


@pytest.mark.slow
def test_a_shard_that_goes_while_it_is_read_from_is_read_to_the_end(few):
    with Dataset(few.path) as dataset:
        dataset[2]
        few.shard(2).unlink()
        assert_array_equal(dataset[2]["audio"], SOUNDS[2])
    with pytest.raises(DatasetError, match="which is gone"):
        Dataset(few.path)


def view(path, ranges, rows=4, **names):
    """Let the audio of a dataset be another view of its shards: (first row, last row + 1, shard, its row)."""
    with h5py.File(path, "r+") as file:
        sources = [source.file_name for source in file[AUDIO].virtual_sources()]
        layout = h5py.VirtualLayout((rows, 2, 80), "<f4")
        for start, stop, shard in ranges:
            whole = h5py.VirtualSource(sources[shard], names.get("name", AUDIO), (stop - start, 2, 80))
            layout[start:stop] = whole[: stop - start]
        del file[AUDIO]
        file.create_virtual_dataset(AUDIO, layout)


@pytest.mark.slow
def test_a_gap_in_a_view_is_named(few):
    view(few.path, [(0, 1, 0), (2, 3, 2)])
    with Dataset(few.path) as dataset:
        assert_array_equal(dataset[[0, 2]]["audio"], SOUNDS[[0, 2]])
        for row in (1, 3):
            with pytest.raises(DatasetError, match=f"no shard holds row {row} of audio/waveforms"):
                dataset[row]


@pytest.mark.slow
def test_a_view_that_begins_with_a_gap_names_its_row(few):
    view(few.path, [(1, 2, 1)])
    with Dataset(few.path) as dataset, pytest.raises(DatasetError, match="no shard holds row 0"):
        dataset[:]


@pytest.mark.slow
def test_a_view_of_something_else_is_refused(few):
    view(few.path, [(0, 1, 0)], name="params/continuous")
    with pytest.raises(DatasetError, match="in a way that merging doesn't"):
        Dataset(few.path)


def test_a_copied_file_with_a_row_that_was_never_written_names_it(tier_1, forge):
    path = forge(tier_1)
    with h5py.File(path, "r+") as file:
        file[AUDIO].resize(14, axis=0)
        file[AUDIO].resize(15, axis=0)
    with Dataset(path) as dataset:
        assert dataset[13]["audio"].any()
        with pytest.raises(DatasetError, match=r"forged\.h5 is damaged: row 14 of audio/waveforms can't be read"):
            dataset[14]


@pytest.mark.slow
@pytest.mark.parametrize("how", [{}, {"chunk_rows": 4}], ids=["a row to a chunk", "4 rows to a chunk"])
def test_zeros_where_sound_was_stored_are_damage(tier_1, tmp_path, how):
    path = Path(tier_1.merge(tmp_path / "x.h5", **how).path)
    with h5py.File(path, "r+") as file:
        file[AUDIO][6] = 0
    with Dataset(path) as dataset:
        for rows in (6, slice(None), [6], slice(4, 8)):
            with pytest.raises(DatasetError, match=r"x\.h5 is damaged: row 6 of audio/waveforms reads as zeros"):
                dataset[rows]
        assert dataset[[5, 7]]["audio"].any()


def test_a_row_that_is_silent_and_says_so_is_read(tier_1, forge):
    """A spec may let silence in: that is not damage."""
    path = forge(tier_1)
    with h5py.File(path, "r+") as file:
        file[AUDIO][6] = 0
        file["metadata/audio_sha256"][6] = hashlib.sha256(bytes(2 * 8820 * 4)).hexdigest().encode()
    with Dataset(path) as dataset:
        assert not dataset[6]["audio"].any()


@pytest.mark.parametrize(
    "name", ["params/categorical", "params/wavetables", "metadata/audio_sha256", "params/active", "rejections/reason"]
)
def test_labels_that_were_never_written_are_damage(tier_1, forge, name):
    """They would read as zeros, which are labels like any other."""
    path = forge(tier_1)
    with h5py.File(path, "r+") as file:
        column = file[name]
        made = column.id.get_create_plist()
        del file[name]
        h5py.h5d.create(file.id, name.encode(), column.id.get_type(), column.id.get_space(), made)
    with (
        Dataset(path) as dataset,
        pytest.raises(DatasetError, match=f"a part of {name} was never written; make it again"),
    ):
        _ = dataset.rejections() if name.startswith("rejections") else dataset.column(name.split("/")[1])


def test_an_asset_that_was_never_written_is_damage(tier_1, forge):
    path = forge(tier_1)
    with h5py.File(path, "r+") as file:
        name = next(iter(file["assets"]))
        size = len(file[f"assets/{name}"])
        del file[f"assets/{name}"]
        file["assets"].create_dataset(name, (size,), "u1", chunks=(size,), compression="gzip")
    with Dataset(path) as dataset, pytest.raises(DatasetError, match=f"a part of assets/{name} was never written"):
        _ = dataset.assets


# -------------------------------------------------------------------------------------------------------- other readers


@pytest.mark.slow
def test_the_dense_modulation_of_a_view_is_read_from_its_shards(tier_3, tmp_path):
    shutil.copytree(tier_3.data_dir / "shards", tmp_path / "shards")
    path = Path(tier_3.merge(tmp_path / "x.h5", data_dir=tmp_path, mode="virtual").path)
    with Dataset(path) as dataset, Dataset(tier_3.path) as copied:
        assert_array_equal(dataset[:]["modulation_t3"], copied[:]["modulation_t3"])
        with h5py.File(path) as file:
            assert file[DENSE].is_virtual
    with Dataset(path) as dataset:
        (tmp_path / tier_3.shards[1].name).unlink()
        assert dataset.column("modulation_t3", [0]).any()
        with pytest.raises(DatasetError, match="which is gone"):
            dataset.column("modulation_t3")


@pytest.mark.slow
def test_a_recipe_of_a_view_holds_what_the_view_refers_to(tier_3, tmp_path):
    """It may go where the shards are not."""
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    ref = tier_3.merge(tmp_path / "here" / "x.h5", mode="virtual")
    with Dataset(ref.path) as dataset:
        write_recipe(dataset, tmp_path / "there" / "recipe.h5")
        expected = dataset.column("modulation_t3")
    assert expected.any()
    with Dataset(tmp_path / "there" / "recipe.h5") as recipe:
        assert recipe.is_recipe
        assert recipe.shard_files == []
        assert_array_equal(recipe.column("modulation_t3"), expected)


# -------------------------------------------------------------------------------------------------- without our package


def snippets():
    page = (ROOT / "docs" / "format.md").read_text()
    return re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def in_data(folder, scattered):
    """Where the page's code looks for it."""
    copy = scattered.copy(folder / "data")
    copy.path.rename(folder / "data" / "demo.h5")
    return copy


LIMIT = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, {}))\n"


@pytest.mark.slow
def test_the_format_page_finds_silence_that_hdf5_makes_up(few, tmp_path, fresh):
    checked = snippets()[1]
    copy = in_data(tmp_path, few)
    assert fresh(checked, without=("synthcore",)).stdout == "4 rows read\n"
    copy.shard(2).unlink()
    done = fresh(checked, without=("synthcore",), check=False)
    assert done.stderr == "row 2 is not what was stored: its shard can't be opened\n"


@pytest.mark.slow
def test_the_format_page_reads_more_shards_than_files_may_be_open(scattered, tmp_path, fresh):
    _, checked, by_shard = snippets()
    in_data(tmp_path, scattered)
    assert fresh(LIMIT.format(4096) + checked, without=("synthcore",)).stdout == "90 rows read\n"
    assert fresh(LIMIT.format(FILES) + checked, without=("synthcore",), check=False).returncode == 1
    assert fresh(LIMIT.format(FILES) + by_shard, without=("synthcore",)).stdout == "90 rows read\n"


@pytest.mark.slow
def test_a_dataset_with_views_can_be_pickled_and_names_its_shards(few):
    with Dataset(few.path) as dataset:
        again = pickle.loads(pickle.dumps(dataset))
        assert_array_equal(again.column("audio"), SOUNDS[:4])
        again.close()
        assert dataset.shard_files == [few.shard(row).resolve() for row in range(4)]

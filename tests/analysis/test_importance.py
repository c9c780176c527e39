"""Importance weights: what moves the sound weighs, what can't be heard is exactly 0, and the file survives a crash."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from benchmarks.processes import descendants, is_alive
from synthcore.analysis import importance, weighing
from synthcore.analysis.importance import BaseResult, Probe, ProbeRef, ProbeResult
from synthcore.base.errors import DatasetError
from synthcore.base.hashing import file_checksum
from synthcore.engine import client, lending
from synthcore.engine.rendering import CpuSeconds, Fault, Outcome
from synthcore.flows.cli import main
from synthcore.spec import AudioSpec, DatasetSpec
from synthcore.storage import weights
from synthcore.storage.dataset import Dataset
from synthcore.storage.weights import Weights
from synthcore.verification.rerendering import find_damage
from synthcore.vital.controls import installed
from synthcore.vital.patch import Patch
from tests.children import wait_status
from tests.conftest import make_dataset

REGISTRY = installed()
INIT = Patch.init(REGISTRY)
N_BASE = 3


@dataclass(frozen=True)
class Measured:
    """A small dataset whose weights were measured, at rows in which filter 1 is on and closes."""

    path: Path
    data_dir: Path
    probe: Probe
    ref: ProbeRef
    weighed: weighing.WeightsResult


def is_filtered(patch: Patch) -> bool:
    """Whether filter 1 is on, half of the sound goes through it, and it isn't wide open."""
    places = {c.name: i for i, c in enumerate(REGISTRY.continuous)}
    cutoff, mix = (patch.continuous[places[f"filter_1_{name}"]] for name in ("cutoff", "mix"))
    return "filter_1_cutoff" in importance.audible(patch, REGISTRY) and bool(cutoff < 0.7 and mix > 0.5)


@pytest.fixture(scope="module")
def measured(short: AudioSpec, tmp_path_factory: pytest.TempPathFactory) -> Measured:
    data_dir = tmp_path_factory.mktemp("weights")
    spec = DatasetSpec(tier=1, n_samples=36, audio=short.model_copy(update={"notes": (60,)}))
    path = make_dataset(spec, data_dir, rows_per_shard=36).path
    with Dataset(path) as dataset:
        filtered = [row for row, patch in enumerate(dataset.patches(0, len(dataset))) if is_filtered(patch)]
        probe = importance.probe_of(dataset, filtered[:N_BASE])
    assert len(probe.rows) == N_BASE
    ref = importance.measure(probe, data_dir)
    return Measured(path, data_dir, probe, ref, weighing.store(path, [ref], data_dir))


@pytest.fixture
def copy(tier_1: Any, tmp_path: Path) -> Path:
    return Path(shutil.copy(tier_1.path, tmp_path / "out.h5"))


def some_weights(path: Path, seed: int = 0) -> Weights:
    """Made-up weights for a dataset."""
    rng = np.random.default_rng(seed)
    with Dataset(path) as dataset:
        sizes, base = (len(dataset.registry.continuous), len(dataset.registry.categorical)), dataset.digest
    first, second, third, fourth = (rng.random(size, dtype=np.float32) for size in (*sizes, *sizes))
    return Weights(first, second, third, fourth, method={"base": base, "n_base": 3})


def status_of(path: Path) -> str:
    with Dataset(path) as dataset:
        return dataset.weights_status


def weights_of(path: Path) -> Weights:
    with Dataset(path) as dataset:
        assert dataset.weights is not None
        return dataset.weights


# ---------------------------------------------------------------------------------------------------------- the plan


@pytest.mark.parametrize("control", REGISTRY.continuous, ids=lambda control: control.name)
def test_a_control_moves_both_ways_and_never_out_of_its_range(control):
    for unit, count in ((0.0, 1), (0.5, 2), (1.0, 1)):
        reached = importance.steps(control, np.float32(unit))
        assert len(reached) == (count if not control.is_whole or control.high - control.low >= 2 else 1) or unit == 0.5
        assert all(0 <= r <= 1 and r != np.float32(unit) for r in reached)


def test_each_move_changes_its_control_and_nothing_else():
    moves = list(importance.moves_of(INIT, REGISTRY, 60))
    assert {move.control for move in moves} == set(REGISTRY.by_name)
    before = INIT.values(REGISTRY)
    for move in moves:
        after = move.patch.values(REGISTRY)
        assert {name for name in after if after[name] != before[name]} == {move.control}
        assert after[move.control] == move.value


def test_at_most_three_options_are_drawn_and_the_same_ones_again():
    categorical = {c.name: len(c.options) for c in REGISTRY.categorical}
    drawn = [(m.control, m.value) for m in importance.moves_of(INIT, REGISTRY, 60) if m.control in categorical]
    assert drawn == [(m.control, m.value) for m in importance.moves_of(INIT, REGISTRY, 60) if m.control in categorical]
    for name, options in categorical.items():
        assert len({value for control, value in drawn if control == name}) == min(3, options - 1)
    elsewhere = [(m.control, m.value) for m in importance.moves_of(INIT, REGISTRY, 61) if m.control in categorical]
    assert drawn != elsewhere


def test_fewer_bases_are_the_first_of_more_and_patches_come_before_their_other_notes(tier_1):
    with Dataset(tier_1.path) as dataset:
        every = importance.choose_bases(dataset, 1000)
        assert sorted(every) == list(range(len(dataset)))
        assert importance.choose_bases(dataset, 5) == every[:5]
        hashes = dataset.column("preset_hash")
        patches = len(set(hashes.tolist()))
        assert len({hashes[row] for row in every[:patches]}) == patches


def test_a_probe_is_known_by_its_bases_wherever_the_file_lies(copy, tmp_path):
    other = Path(shutil.copy(copy, tmp_path / "other.h5"))
    here, there = (importance.plan(path, 6) for path in (other, copy))
    assert [probe.key for probe in here] == [probe.key for probe in there]
    assert [probe.key for probe in importance.plan(copy, 4)] == [here[0].key]
    assert len({probe.key for probe in here}) == len(here) == 2


def test_pinned_controls_and_those_of_a_higher_tier_do_not_vary(tier_1, tier_2):
    with Dataset(tier_1.path) as dataset:
        assert "filter_1_filter_input" not in importance.varied(dataset)
        assert importance.varied(dataset) < set(dataset.control_names(1))
    with Dataset(tier_2.path) as dataset:
        assert "reverb_size" in importance.varied(dataset)


def test_only_tier_1_is_heard_for_less_than_its_rows_last():
    one, two = (importance.render_format(DatasetSpec(tier=tier)) for tier in (1, 2))
    assert (one.render_seconds, two.render_seconds) == (1.0, 2.0)
    brief = AudioSpec(note_seconds=0.2, render_seconds=0.3)
    assert importance.render_format(DatasetSpec(audio=brief)).samples == int(0.3 * 44_100)


# ------------------------------------------------------------------------------------------------------- the figures


def fake_refs(folder: Path, *bases: BaseResult) -> list[ProbeRef]:
    folder.mkdir(exist_ok=True)
    path = folder / "probe.json"
    path.write_text(ProbeResult(bases=bases).model_dump_json())
    return [ProbeRef(name=path.name, checksum=file_checksum(path), renders=1, synth_cpu_seconds=1.0)]


def base(**moved: float) -> BaseResult:
    return BaseResult(preset_hash="", note=60, moved=moved)


def test_weights_are_means_of_the_bases_and_one_on_average_over_the_tier(tier_1, tmp_path):
    bases = [base(volume=4.0, osc_1_level=1.0, osc_1_on=2.0), base(volume=2.0, osc_1_on=2.0)]
    with Dataset(tier_1.path) as dataset:
        found = weighing.weigh(dataset, fake_refs(tmp_path, *bases), tmp_path)
        continuous, categorical = dataset.columns(tier=1)
        names = [c.name for c in dataset.registry.continuous]
        assert found.continuous[continuous].mean() == pytest.approx(1)
        assert found.categorical[categorical].mean() == pytest.approx(1)
        volume, level = (found.continuous[names.index(name)] for name in ("volume", "osc_1_level"))
        assert volume == pytest.approx(6 * level)
        assert found.continuous_error[names.index("volume")] == pytest.approx(volume / 3)
        assert found.method["continuous_db"] * volume == pytest.approx(3)
        assert (found.method["base"], found.method["n_base"]) == (dataset.digest, 2)
        assert not found.continuous[[i for i, c in enumerate(dataset.registry.continuous) if c.tier > 1]].any()


def test_what_could_not_be_rendered_does_not_count(tier_1, tmp_path):
    lost = BaseResult(preset_hash="", note=60, moved={"osc_1_level": 2.0}, lost=("volume",))
    gone = BaseResult(preset_hash="", note=60, moved=None)
    with Dataset(tier_1.path) as dataset:
        found = weighing.weigh(dataset, fake_refs(tmp_path, base(volume=4.0), lost, gone), tmp_path)
        names = [c.name for c in dataset.registry.continuous]
        volume, level = (found.continuous[names.index(name)] for name in ("volume", "osc_1_level"))
        assert volume == pytest.approx(4 * level)
        assert [found.method[k] for k in ("n_base", "bases_lost", "controls_lost")] == [2, 1, 1]
        with pytest.raises(DatasetError, match="none of 1 row could be rendered again"):
            weighing.weigh(dataset, fake_refs(tmp_path / "none", gone), tmp_path / "none")


# ------------------------------------------------------------------------------------------------------- in the file


def test_weights_are_written_into_what_was_reserved(copy):
    size, asked = copy.stat().st_size, some_weights(copy)
    assert status_of(copy) == "absent"
    weights.write(copy, asked)
    assert copy.stat().st_size == size
    with Dataset(copy) as dataset:
        assert dataset.weights_status == "complete"
        assert dataset.weights is not None
        assert dataset.weights.is_same(asked)
        assert list(find_damage(dataset)) == []


def crash_while(writing: Callable[[], None], at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write in a child, which is killed at one of the moments when the disk is in order."""
    flushes = {"marked absent": 1, "data written": 2}
    count = 0

    def die(file: h5py.File) -> None:
        nonlocal count
        count += 1
        file.flush()
        if count == flushes[at]:
            os.kill(os.getpid(), signal.SIGKILL)

    def work() -> None:
        monkeypatch.setattr(weights, "flush", die)
        writing()

    assert os.WTERMSIG(wait_status(work)) == signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("at", ["marked absent", "data written"])
@pytest.mark.parametrize("had_weights", [False, True], ids=["first", "again"])
def test_a_crash_leaves_a_readable_file_whose_weights_are_absent(copy, at, had_weights, monkeypatch):
    if had_weights:
        weights.write(copy, some_weights(copy))
    other = some_weights(copy, seed=1)
    crash_while(lambda: weights.write(copy, other), at, monkeypatch)
    with Dataset(copy) as dataset:
        assert (dataset.weights_status, dataset.weights) == ("absent", None)
        assert list(find_damage(dataset)) == []
        assert np.array_equal(dataset[0]["audio"], Dataset(copy)[0]["audio"])
    weights.write(copy, other)
    assert weights_of(copy).is_same(other)


@pytest.mark.slow
def test_merging_again_keeps_weights_and_says_when_they_are_stale(tier_1, copy):
    weights.write(copy, some_weights(copy))
    tier_1.merge(copy)
    assert weights_of(copy).status == "complete"
    fewer = tier_1.spec.model_copy(update={"n_samples": 13})
    tier_1.merge(copy, spec=fewer)
    assert weights_of(copy).status == "stale"
    assert weights_of(copy).method["n_base"] == 3
    tier_1.merge(copy)
    assert weights_of(copy).status == "complete"


@pytest.mark.slow
def test_weights_of_another_spec_are_left_behind(tier_1, tier_2, tmp_path):
    path = Path(shutil.copy(tier_2.path, tmp_path / "other.h5"))
    weights.write(path, some_weights(path))
    tier_1.merge(path)
    assert status_of(path) == "absent"


def test_a_damaged_file_in_the_way_has_no_weights_to_keep(tier_1, tmp_path):
    path = tmp_path / "damaged.h5"
    path.write_bytes(tier_1.path.read_bytes()[:4096])
    tier_1.merge(path)
    assert status_of(path) == "absent"


def without_rows(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        for name in [f"{group}/{name}" for group in ("audio", "params", "metadata") for name in file[group]]:
            kept = file[name][:0]
            del file[name]
            file[name] = kept


@pytest.mark.parametrize(
    ("which", "says"),
    [
        ("empty", "has no rows, so there is nothing to weigh"),
        ("shard", "is a shard, which has no weights"),
        ("recipe", "is a recipe, without audio"),
        ("missing", "there is no file"),
        ("text", "is not an HDF5 file"),
    ],
)
def test_files_without_weights_cost_one_line(which, says, tier_1, tmp_path, capsys):
    path = tmp_path / "it.h5"
    if which == "shard":
        shutil.copy(tier_1.data_dir / tier_1.shards[0].name, path)
    elif which == "recipe":
        assert main(["recipe", str(tier_1.path), "-o", str(path)]) == 0
    elif which == "text":
        path.write_text("no dataset")
    elif which != "missing":
        shutil.copy(tier_1.path, path)
    if which == "empty":
        without_rows(path)
    before = path.read_bytes() if path.exists() else b""
    capsys.readouterr()
    assert main(["compute-weights", str(path), "--n-base", "3"]) == 2
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert says in told.err
    assert (path.read_bytes() if path.exists() else b"") == before


@pytest.mark.slow
def test_a_file_that_is_being_read_elsewhere_is_left_alone(copy, fresh):
    code = """
import h5py, subprocess
with h5py.File(sys.argv[1], "r"):
    command = [sys.executable, "-m", "synthcore.flows.cli", "compute-weights", sys.argv[1], "--n-base", "3"]
    done = subprocess.run(command, capture_output=True, text=True)
print(done.returncode, done.stderr)
"""
    before = copy.read_bytes()
    said = fresh(code, copy).stdout
    assert said.startswith("2 ")
    assert "another program has it open" in said
    assert copy.read_bytes() == before


# -------------------------------------------------------------------------------------------------------- with sound


@pytest.mark.slow
def test_what_is_heard_most_weighs_most(measured):
    with Dataset(measured.path) as dataset:
        names = dataset.control_names(tier=1)
    every = {**measured.weighed.weights, **measured.weighed.categorical}
    median = np.median([every[name] for name in names])
    for name in ("volume", "osc_1_level", "osc_1_transpose", "filter_1_cutoff"):
        assert every[name] > median, name


@pytest.mark.slow
def test_what_never_varies_scores_exactly_zero(measured):
    with Dataset(measured.path) as dataset:
        varied = importance.varied(dataset)
    every = {**measured.weighed.weights, **measured.weighed.categorical}
    assert len(every) == 448
    assert {every[name] for name in every.keys() - varied} == {0.0}
    moved = [base["moved"].items() for base in bases_of(measured.data_dir, measured.ref)]
    assert {name for name, weight in every.items() if weight > 0} == {n for of in moved for n, db in of if db > 0}
    assert min(every.values()) == 0.0


@pytest.mark.long
def test_measuring_again_gives_the_same(measured, tmp_path):
    with Dataset(measured.path) as dataset:
        one = importance.probe_of(dataset, measured.probe.rows[:1])
    again = importance.measure(one, tmp_path)
    assert bases_of(tmp_path, again) == bases_of(measured.data_dir, measured.ref)[:1]
    assert weighing.store(measured.path, [measured.ref], measured.data_dir) == measured.weighed


def bases_of(data_dir: Path, ref: ProbeRef) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((data_dir / ref.name).read_text())["bases"]
    return found


@pytest.mark.slow
def test_controls_that_the_rules_call_inaudible_are_not_rendered(measured):
    with Dataset(measured.path) as dataset:
        for row, base in zip(measured.probe.rows, bases_of(measured.data_dir, measured.ref), strict=True):
            heard = importance.audible(dataset.patch(row), REGISTRY)
            assert base["preset_hash"] == dataset.patch(row).hash
            assert set(base["moved"]) == heard & importance.varied(dataset)


@pytest.mark.slow
def test_of_a_document_are_the_controls_that_a_fork_cannot_set(tier_2):
    """They have their effect: moving oversampling changes the sound."""
    with Dataset(tier_2.path) as dataset:
        moved = importance.BaseWork(dataset, 0, {"oversampling", "volume"}).run().moved
    assert moved is not None
    assert set(moved) == {"oversampling", "volume"}
    assert moved["oversampling"] > 0


class Fragile:
    """A synth that crashes when one control is set."""

    def __init__(self, inner: client.Renderer, name: str) -> None:
        self.inner, self.name = inner, name

    def render(self, preset: bytes, performances: client.Performances, changes: client.Changes) -> Outcome:
        if any(self.name in change for change in changes):
            return Outcome((), Fault(60, "crash", None, None), CpuSeconds())
        return self.inner.render(preset, performances, changes)


@pytest.mark.slow
def test_a_move_that_the_synth_does_not_survive_costs_that_control_alone(tier_1, monkeypatch):
    @contextlib.contextmanager
    def fragile(fmt: Any, seconds: float) -> Any:
        with lending.borrow_renderer(fmt, seconds) as inner:
            yield Fragile(inner, "osc_1_level")

    monkeypatch.setattr("synthcore.engine.play.borrow_renderer", fragile)
    with Dataset(tier_1.path) as dataset:
        rows = range(len(dataset))
        row = next(r for r in rows if "osc_1_level" in importance.audible(dataset.patch(r), REGISTRY))
        result = importance.BaseWork(dataset, row, {"volume", "osc_1_level"}).run()
    assert result.lost == ("osc_1_level",)
    assert result.moved is not None
    assert set(result.moved) == {"volume"}


# -------------------------------------------------------------------------------------------------------- as a flow

SHORT: tuple[object, ...] = ("--notes", 48, "--sample-rate", 22050, "--note-seconds", 0.15, "--render-seconds", 0.2)
SHORT += ("--rows-per-shard", 6, "-n", 6, "--data-dir", "data", "-o", "out.h5")


@pytest.mark.long
def test_one_flow_makes_a_dataset_with_weights_goes_on_when_killed_and_measures_nothing_twice(cli):
    command = ("generate", *SHORT, "--weights", importance.BASES + 1)
    out = cli.folder / "out.h5"

    def written() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in (cli.folder / "data" / "weights").rglob("[0-9a-f]*.json")}

    def recorded() -> bool:
        results = (cli.folder / "data" / "results").glob("*")
        return any(name.stem in record.read_text() for record in results for name in written())

    run = cli.start(*command, "--workers", 1)  # one probe after the other: two might be done before the kill
    cli.wait_until(lambda: recorded() or run.poll() is not None, seconds=240)
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    before = written()
    assert len(before) == 1
    assert status_of(out) == "absent"
    made = cli.json(*command)
    assert (made["weights"], made["rows_rendered"]) == (importance.BASES + 1, 0)
    after = written()
    assert len(after) == 2
    assert before.items() < after.items()  # what was measured before the kill was not measured again
    found = weights_of(out)
    assert (found.status, found.method["base"]) == ("complete", made["digest"])
    content = out.read_bytes()
    next(iter(after)).unlink()  # a cached probe is gone: it is measured again, with the same result
    again = cli.json("compute-weights", "out.h5", "--n-base", importance.BASES + 1, "--data-dir", "data")
    assert again["base"] == made["digest"]
    assert len(written()) == 2
    assert out.read_bytes() == content


@pytest.mark.long
def test_ctrl_c_ends_the_renders_under_way(cli):
    cli.json("generate", *SHORT)
    run = cli.start("compute-weights", "out.h5", "--n-base", importance.BASES, "--data-dir", "data")
    cli.wait_until(lambda: any("zygote" in command for command in descendants(run.pid).values()), seconds=120)
    family = descendants(run.pid)
    run.send_signal(signal.SIGINT)
    _, said = run.communicate()
    assert run.returncode == 130, said
    assert not list((cli.folder / "data" / "weights").rglob("[0-9a-f]*.json"))  # a probe is not finished first
    cli.wait_until(lambda: not any(is_alive(pid) for pid in family), seconds=60)

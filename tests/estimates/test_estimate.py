"""What a run will take is said before it is made: near what it takes, from a few seconds, and without a trace."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from synthcore.analysis.feature_specs import Sketch
from synthcore.base.errors import SpecError
from synthcore.base.progress import Progress
from synthcore.estimates import pace, room
from synthcore.estimates.estimate import LONG_SECONDS, Estimate, estimate, forecast
from synthcore.estimates.features import needs_of
from synthcore.estimates.pace import Meter, Pace
from synthcore.estimates.work import Paces, Work, looked_at
from synthcore.flows.cli import main
from synthcore.pipeline import features
from synthcore.pipeline.laps import Laps, began
from synthcore.pipeline.shard import plan_shards
from synthcore.pipeline.tally import Tally
from synthcore.settings.commands import parse
from synthcore.settings.generate import Generate
from synthcore.spec import DatasetSpec
from synthcore.storage.collection import write_collection
from synthcore.vital.controls import installed
from tests.conftest import CAN_MOUNT, make_dataset

#: Two notes of a fifth of a second, in shards of six rows.
SHORT: tuple[str, ...] = (
    "--notes",
    "48,60",
    "--sample-rate",
    "22050",
    "--note-seconds",
    "0.1",
    "--render-seconds",
    "0.2",
)
SHORT += ("--rows-per-shard", "6")
#: The audio and the shards of the fixtures.
OF_FIXTURES: tuple[str, ...] = ("--notes", "48,60", "--sample-rate", "22050", "--note-seconds", "0.25")
OF_FIXTURES += ("--render-seconds", "0.4", "--rows-per-shard", "10")


@pytest.fixture(autouse=True)
def probes_are_brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few candidates are enough here."""
    monkeypatch.setattr(pace, "ENOUGH", 12)
    monkeypatch.setattr(pace, "REHEARSAL_SECONDS", 60.0)  # a busy machine is not what is tested


@pytest.fixture
def wish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Generate]:
    """Settings of a command in an empty folder; later flags beat earlier ones."""
    monkeypatch.chdir(tmp_path)

    def wish(*flags: object, audio: tuple[str, ...] = SHORT) -> Generate:
        return parse(Generate, [*audio, "-o", "out.h5", "--data-dir", "data", *map(str, flags)])

    return wish


def everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def remember(made: Any, data_dir: Path) -> None:
    """Write down what a run would of its shards."""
    for plan, ref in zip(made.plans, made.shards, strict=True):
        record = data_dir / "results" / plan.record
        record.parent.mkdir(exist_ok=True)
        record.write_text(json.dumps({"metadata": {}, "result": json.dumps({"data": ref.model_dump()})}))


@pytest.mark.long
def test_a_dry_run_needs_no_prefect_and_writes_what_it_measured_alone(fresh: Any, tmp_path: Path) -> None:
    code = "from synthcore.estimates import pace; pace.ENOUGH, pace.REHEARSAL_SECONDS = 12, 60\n"
    code += "from synthcore.flows.cli import main; sys.exit(main(sys.argv[1:]))"
    wishes = ("generate", "-n", 20, *SHORT, "-o", "new/out.h5", "--data-dir", "data", "--dry-run")
    done = fresh(code, *wishes, "--json", without=("prefect",))
    assert done.stderr == "rehearsing: a few patches are rendered, to measure how fast this machine is\n"
    (written,) = everything(tmp_path)
    assert re.fullmatch(r"data/paces/[0-9a-f]{64}\.json", written)
    assert not (tmp_path / "new").exists()
    found = json.loads(done.stdout)
    counts = {name: found[name] for name in ("rows", "rows_extra", "patches", "shards", "shards_there")}
    assert counts == {"rows": 20, "rows_extra": 4, "patches": 10, "shards": 4, "shards_there": 0}
    assert found["seconds_low"] <= found["seconds"] <= found["seconds_high"]
    assert found["rooms"][0]["needed"] == found["shard_bytes"] + found["output_bytes"]
    again = fresh(code, *wishes, without=("prefect",))
    shown = again.stdout
    assert again.stderr == ""  # what was measured is known
    for words in ("20 asked for, of 10 patches, 4 more", "4: 0 are there, 4 to be", "about", "free in", "render 4"):
        assert words in shown
    assert everything(tmp_path) == {written}


@pytest.mark.long
def test_a_probe_is_kept_for_its_kind_and_a_damaged_one_made_again(wish: Any, tmp_path: Path) -> None:
    first = estimate(wish("-n", 20))
    (file,) = (tmp_path / "data" / "paces").glob("*.json")
    before = file.read_bytes()
    assert estimate(wish("-n", 20, "--seed", 5)).row_bytes == first.row_bytes
    assert [*file.parent.iterdir()] == [file]
    file.write_bytes(before[:20])
    again = estimate(wish("-n", 20))
    assert Pace.model_validate_json(file.read_bytes()).candidates == sum(again.faults.values()) + round(
        again.acceptance * Pace.model_validate_json(file.read_bytes()).candidates  # type: ignore[operator]
    )
    estimate(wish("-n", 20, "--workers", 1))
    estimate(wish("-n", 20, "--tier", 2))
    assert len([*file.parent.iterdir()]) == 3


@pytest.mark.slow
def test_what_is_estimated_is_near_what_is_written(wish: Any, each_tier: Any) -> None:
    """Of the very spec of a dataset that is there, from a rehearsal alone; times are the machine's, bytes are not."""
    spec = each_tier.spec
    flags = ("-n", spec.n_samples, "--tier", spec.tier, "--max-peak", spec.acceptance.max_peak)
    found = estimate(wish(*flags, audio=OF_FIXTURES))
    assert found.shard_bytes == pytest.approx(sum(ref.size for ref in each_tier.shards), rel=0.25)
    assert found.output_bytes == pytest.approx(each_tier.ref.size, rel=0.25)
    virtual = each_tier.merge(each_tier.path.with_name("virtual.h5"), mode="virtual")
    assert found.output_bytes_virtual == pytest.approx(virtual.size, rel=0.4)


@pytest.mark.slow
def test_shards_that_are_there_are_not_rendered_and_tell_the_pace(wish: Any, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    made = make_dataset(looked_at(wish("-n", 9))[0].spec, data_dir, rows_per_shard=6)
    assert looked_at(wish("-n", 9))[0].there == {}  # files alone aren't found by a run
    remember(made, data_dir)
    assert [*looked_at(wish("-n", 9))[0].there] == [0, 1]
    more = estimate(wish("-n", 20))
    assert (more.shards, more.shards_there, more.shards_to_render, more.rows_to_render) == (4, 2, 2, 12)
    assert more.measured.startswith("as shards that are there took")
    assert not (data_dir / "paces").exists()
    assert 0 < more.bytes_error < pace.SPREAD_OF_SIZES
    assert more.to_text().count(f"give or take {more.bytes_error:.0%}") == 2
    same = estimate(wish("-n", 9))
    assert same.steps[0].startswith("merge 2 shards")
    assert same.bytes_error == 0
    assert same.output_bytes == pytest.approx(made.ref.size, rel=0.05)
    done = estimate(wish("-n", 9, "-o", made.path))
    assert (done.steps, done.shard_bytes, done.output_bytes) == (("nothing: all of it is there",), 0, 0)
    assert len(looked_at(wish("-n", 9, "--refresh", "render"))[0].missing) == 2
    grown = estimate(wish("--grow-by", 6, "-o", made.path))
    assert (grown.rows, grown.shards, grown.shards_there) == (15, 3, 2)
    victim = data_dir / "results" / made.plans[0].record
    for damage in (b"", b"{}", b"[1]", b'{"result": 3}', b'{"result": "null"}'):
        victim.write_bytes(damage)
        assert [*looked_at(wish("-n", 9))[0].there] == [1]
    (data_dir / made.plans[1].name).write_bytes(b"cut short")
    assert looked_at(wish("-n", 9))[0].there == {}


@pytest.mark.long
def test_presets_are_counted_when_they_have_been_ingested(wish: Any, preset_folder: Path, tmp_path: Path) -> None:
    from synthcore.ingest.collecting import ingest
    from synthcore.pipeline import library

    flags = ("-n", 6, "--community-dir", preset_folder, "--variations", 3)
    unknown = estimate(wish(*flags))
    assert unknown.rows == 6
    assert "presets and variations are counted only when they have been ingested" in unknown.notes[0]
    there = library.collection_of((preset_folder,), False, False, tmp_path / "data")
    write_collection(there, ingest([preset_folder], installed(), check=False, workers=2)[0])
    known = estimate(wish(*flags))
    assert known.rows > 6 + 3 * 2
    assert known.steps[0] == "ingest presets, where files changed"
    assert everything(there.parent) == {there.name}


@pytest.mark.slow
def test_of_too_few_candidates_nothing_is_told(wish: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pace, "ENOUGH", 2)  # as where others use the machine: that is all that is finished in time
    found = estimate(wish("-n", 20))
    assert (found.seconds, found.acceptance) == (None, None)
    assert (
        "too few candidates were finished in some seconds to tell how long it takes, or how many are kept"
        in found.notes
    )
    assert "accepted" not in found.to_text()
    assert not (tmp_path / "data" / "paces").exists()  # the next one tries again


@pytest.mark.slow
def test_a_catalog_is_used_without_being_kept(wish: Any, tmp_path: Path) -> None:
    from synthcore.vital.catalog import Catalog, builtin

    some = Catalog(builtin().entries[:3], {e.digest: builtin().assets[e.digest] for e in builtin().entries[:3]})
    some.save(tmp_path / "some.json")
    assert estimate(wish("-n", 6, "--catalog", tmp_path / "some.json")).shard_bytes
    assert not (tmp_path / "data" / "catalogs").exists()


@pytest.mark.slow
def test_weights_take_time_and_other_workers_are_not_known(wish: Any) -> None:
    plain = estimate(wish("-n", 600))
    weighed = estimate(wish("-n", 600, "--weights", 50, "--distribute", "pool:far"))
    assert plain.weights_seconds == 0
    assert weighed.weights_seconds > weighed.render_seconds  # type: ignore[operator]
    assert weighed.seconds > plain.seconds  # type: ignore[operator]
    assert any("how fast other workers are isn't known" in note for note in weighed.notes)
    assert "render 100 shards by workers of pool:far" in weighed.steps


def test_features_take_time_and_room_beside_a_copy_of_the_output(wish: Any) -> None:
    paces: Paces = {"synthetic": measured(0.5)}
    plain = Estimate.of(planned(wish, "-n", 600), paces, {})
    more = Estimate.of(planned(wish, "-n", 600, "--features", "log-mel,sketch"), paces, {})
    of_a_row = 2 * 128 * 21 * 2 + 1024 * 4  # channels, bands, frames, half precision; a sketch
    assert (more.features_bytes, more.features_bytes_computed) == (600 * of_a_row, 600 * of_a_row)
    assert more.output_bytes == plain.output_bytes
    assert more.rooms[0].needed - plain.rooms[0].needed == 2 * 600 * of_a_row + more.output_bytes
    assert more.features_seconds > plain.features_seconds == 0
    assert more.seconds - plain.seconds == pytest.approx(more.features_seconds, abs=0.1)  # type: ignore[operator]
    assert "features  8.9 MB in the output; 8.9 MB to be computed in about" in more.to_text()
    assert "9 MB of features in it" in more.space
    assert "MB of features" not in plain.space


@pytest.mark.slow
def test_features_that_are_there_take_nothing(wish: Any, tier_1: Any, tmp_path: Path) -> None:
    path = Path(shutil.copy(tier_1.path, tmp_path / "out.h5"))
    specs = [Sketch()]
    made = features.plan(path, specs, tmp_path)
    for plan in made[0].plans:
        features.compute(plan, tmp_path)
    features.store(path, made, tmp_path)
    there = needs_of(wish("--features", "sketch"), tier_1.spec, 15)
    assert (there.stored, there.computed, there.seconds) == (15 * 4096, 0, 0)
    grown = needs_of(wish("--features", "sketch"), tier_1.spec, 25)
    assert (grown.stored, grown.computed) == (25 * 4096, 10 * 4096)
    other = tier_1.spec.model_copy(update={"seed": 1})
    for again in (
        needs_of(wish("--features", "sketch", "--refresh", "all"), tier_1.spec, 15),
        needs_of(wish("--features", "sketch"), other, 15),
    ):
        assert again.computed == again.stored


@pytest.mark.slow
def test_a_spec_of_which_nothing_is_accepted_is_said_to_give_up(wish: Any) -> None:
    found = estimate(wish("-n", 6, "--max-peak", 1e-9))
    assert found.seconds is None
    assert any(note.endswith("the run would give up") for note in found.notes)
    assert "isn't known" in found.to_text()


# ------------------------------------------------------------------------------------------------------- room on disk


@pytest.mark.parametrize("flags", [("--dry-run",), ()])
def test_what_cannot_fit_costs_one_line_and_nothing_is_written(
    flags: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(room, "free_bytes", lambda _: 50_000_000)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")  # were it asked, that would be the complaint
    monkeypatch.chdir(tmp_path)
    assert main(["generate", "-n", "20000", "-o", "out.h5", "--data-dir", "data", *flags]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert re.search(r"\d\d\.\d GB are needed for shards and output, and 50\.0 MB are free in", err)
    assert re.search(r"--merge virtual copies no audio and needs \d+\.\d GB", err)
    assert re.search(r"--sample-rate 22050 or half the seconds about \d+\.\d GB, or name a --data-dir", err)
    assert everything(tmp_path) == set()


def test_only_what_certainly_does_not_fit_is_refused_and_what_hardly_does_is_said(
    wish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, _ = looked_at(wish("-n", 600, "--sample-rate", 44100, "--rows-per-shard", 600))
    needed = room.Bytes.of(work, work.row_bytes({}, room.TYPICAL_RATIO), {}, {})
    (place,) = needed.rooms(work.settings)
    for free, is_said in ((place.needed, False), (place.needed - 1, True)):
        monkeypatch.setattr(room, "free_bytes", lambda _, free=free: free)
        assert ("are needed for shards and output" in room.require_possible(work)) == is_said
    monkeypatch.setattr(room, "free_bytes", lambda _: 1_000_000)
    with pytest.raises(SpecError, match="--merge virtual"):
        room.require_possible(work)


def test_two_file_systems_are_looked_at_by_themselves(tmp_path: Path) -> None:
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is only one here")
    found = room.rooms(tmp_path / "data", 10, other / "new" / "out.h5", 20)
    assert [(each.what, each.needed) for each in found] == [("shards", 10), ("output", 20)]
    (both,) = room.rooms(tmp_path / "data", 10, tmp_path / "out.h5", 20)
    assert (both.place, both.needed) == (str(tmp_path), 30)


@pytest.mark.slow
@pytest.mark.skipif(not CAN_MOUNT, reason="needs to be allowed to mount")
def test_a_small_disk_is_refused_before_anything_is_written(cli: Any) -> None:
    (cli.folder / "data").mkdir()
    mount = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=3m tmpfs data && "$@"; code=$?; ls data; exit $code')
    asked = ("generate", "-n", 600, "-o", "out.h5", "--data-dir", "data", *SHORT)
    for flags in (("--dry-run",), ()):
        done = cli.run(*asked, *flags, within=(*mount, "sh"))
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert "are needed for shards" in done.stderr.splitlines()[-1]
        assert "3.1 MB are free in" in done.stderr.splitlines()[-1]


# ------------------------------------------------------------------------------------------------ what is said of a run


class Clock:
    """A clock that goes when it is told."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def measured(seconds_each: float, candidates: int = 100) -> Pace:
    """What a meter says of two workers that need so long for a candidate of two rows each; one in five is silent."""
    clock = Clock()
    meter = Meter(2, clock)
    clock.now += 30  # until processes have started
    for number in range(candidates):
        fault = "silent" if number % 5 == 4 else None
        meter.hear(Progress(rows=0 if fault else 2, fault=fault, bytes=0 if fault else 2000, cpu_seconds=seconds_each))
        clock.now += seconds_each / 2
    clock.now -= seconds_each / 2
    found = meter.pace("run")
    assert found is not None
    return found


def test_a_meter_measures_from_when_every_worker_has_begun() -> None:
    found = measured(0.5)
    assert (found.candidates, found.accepted, found.row_bytes) == (100, 80, 1000.0)
    assert found.size_error == pytest.approx(pace.SPREAD_OF_SIZES / 80**0.5)
    assert found.per_second == pytest.approx(4.0)
    assert measured(0.5, candidates=1).per_second == pytest.approx(pace.alone(0.5, 2))
    assert Meter(2).pace("run") is None


def test_a_meter_waits_for_the_first_renders_whatever_is_refused_without_one() -> None:
    clock = Clock()
    meter = Meter(2, clock)
    for _ in range(5):
        meter.hear(Progress(rows=0, fault="repeats"))
    clock.now += 30  # until processes have started
    for _ in range(4):
        meter.hear(Progress(rows=2, fault=None, cpu_seconds=1.0))
        clock.now += 0.5
    found = meter.pace("run")
    assert found is not None
    assert (found.candidates, found.accepted) == (9, 4)
    assert found.per_second == pytest.approx(2.0)


def planned(wish: Any, *flags: object) -> Work:
    return looked_at(wish(*flags, "--workers", 2))[0]


def test_a_long_run_is_forecast_in_three_lines_and_another_in_one(wish: Any) -> None:
    long = [*forecast(planned(wish, "-n", 2000), {"synthetic": measured(0.5)})]
    assert long[0] == "2,000 rows and 4 that whole shards add in 334 shards"
    assert re.match(r"about 5 min \(\d+ min to \d+ min\) on this machine: \d\.\d rows/s with 2 workers", long[1])
    assert "free in" in long[2]
    assert len(long) == 3
    (line,) = forecast(planned(wish, "-n", 60), {"synthetic": measured(0.5)})
    assert line.startswith("60 rows in 10 shards; about 16 s")
    assert Estimate.of(planned(wish, "-n", 60), {"synthetic": measured(0.5)}, {}).seconds < LONG_SECONDS  # type: ignore[operator]


def test_one_is_written_as_one_and_no_line_is_wider_than_a_terminal(wish: Any) -> None:
    found = Estimate.of(planned(wish, "-n", 6), {"synthetic": measured(0.5)}, {})
    assert found.headline == "6 rows in 1 shard"
    lines = found.to_text().splitlines()
    assert "  render 1 shard" in lines
    without_a_path = [line for line in lines if max(map(len, line.split()), default=0) < 40]  # which is never broken
    assert len(without_a_path) > 5
    assert max(map(len, without_a_path)) <= 80


def test_the_rows_that_were_asked_for_are_counted_and_what_whole_shards_add_is_said() -> None:
    plans = plan_shards(DatasetSpec(n_samples=12), 192)
    tally = Tally(plans, requested=12)
    assert tally.to_text() == "0 of 12 rows (192 in whole shards), 0 of 1 shard"
    tally.count(Progress(rows=96, fault=None))
    assert (tally.rows_done, tally.requested_done) == (96, 6)
    tally.shard_done(plans[0], is_cached=True)
    assert tally.requested_done == 12


def test_a_shard_is_said_in_a_line() -> None:
    clock, plans = Clock(), plan_shards(DatasetSpec(n_samples=600), 300)
    tally = Tally(plans, clock)
    clock.now += 25
    tally.shard_done(plans[0], is_cached=False)
    assert tally.of_shard(plans[0]) == "shard 1 of 2: 300 rows, 12.0 rows/s, 25 s left"
    tally.shard_done(plans[1], is_cached=False)
    assert tally.of_shard(plans[1]) == "shard 2 of 2: 300 rows, 24.0 rows/s"


def test_time_is_counted_from_the_beginning_of_the_command() -> None:
    clock = Clock()
    clock.now = began_at = 90.0
    token = began.set(began_at)
    laps = Laps(clock)
    for moment, part in ((100.0, "start"), (130.0, "render"), (131.0, "merge"), (133.0, "render")):
        clock.now = moment
        laps.end(part)
    began.reset(token)
    assert laps.parts == {"start": 10.0, "render": 32.0, "merge": 1.0}


@pytest.mark.long
def test_without_a_terminal_each_shard_has_a_line_and_the_last_line_says_where_the_time_went(cli: Any) -> None:
    asked = ("generate", "-n", 16, "-o", "out.h5", "--data-dir", "data", *SHORT)
    done = cli.run(*asked)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^shard (\d) of 3: 6 rows, \d+\.\d rows/s", done.stderr, re.MULTILINE) == ["1", "2", "3"]
    last = done.stdout.splitlines()[-1]
    assert re.fullmatch(r"\d+\.\d s in all: start \d+\.\d s, render \d.*, rest \d+\.\d s", last)
    report = cli.json(*asked)
    assert report["parts"].keys() == {"start", "render", "merge", "rest"}
    assert report["parts"]["render"] + report["parts"]["merge"] == pytest.approx(report["seconds"], abs=0.01)
    assert "\nrendering 3 shards\n" in done.stderr  # before the first is done
    assert not re.findall("^(shard|rendering) ", cli.run(*asked).stderr, re.MULTILINE)


BESIDE_PREFECT = """
from synthcore.pipeline import library
from synthcore.settings.commands import parse
from synthcore.settings.generate import Generate
from synthcore.estimates.work import get_ready
settings = parse(Generate, ["-n", "3", "--data-dir", "data", "-o", "out.h5"])
spec = settings.spec_of(library.given_catalog(None, settings.data_dir), "")
environments = []
sys.addaudithook(lambda event, given: event == "subprocess.Popen" and environments.append(given[3]))
before = set(sys.modules)
get_ready(settings, spec)
imported = {name.partition(".")[0] for name in set(sys.modules) - before}
print(len(environments), None in environments, [*imported - sys.stdlib_module_names])
"""


@pytest.mark.slow
def test_what_is_done_while_prefect_is_imported_imports_nothing_and_reads_no_environment(fresh: Any) -> None:
    """Two threads that import may each find what the other has imported in part; and an environment that is changed
    while a child is started on it may be gone from its place."""
    assert fresh(BESIDE_PREFECT).stdout == "3 False []\n"

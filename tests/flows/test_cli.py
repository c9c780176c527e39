"""What people type: help that teaches, and for bad input one clear line, exit code 2, and nothing touched."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Annotated, Any

import h5py
import pytest
from pydantic import PlainSerializer, TypeAdapter

from synthcore.flows.cli import COMMANDS, main
from synthcore.flows.running import doctor, environment
from synthcore.flows.running.environment import is_healthy
from synthcore.settings.generate import Generate
from tests.conftest import place_of
from tests.servers import answering


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(environment, "_chosen", "")  # another test of this process may have chosen a server
    return tmp_path


def test_the_list_of_commands_fits_any_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


LONG = "a" * 300  #: a name that no file can have


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("bogus", "there is no command 'bogus'; there are generate, inspect, diff, compare, match, evaluate"),
        ("generate --bogus 3", "generate has no flag --bogus"),
        ("generate --tier 9", "synthcore: --tier: must be 1, 2 or 3, not 9\n"),
        ("generate --tier one", "--tier: must be 1, 2 or 3, not 'one'"),
        ("generate -n 0", "--n-samples: must be at least 1, not 0"),
        ("generate -n many", "--n-samples: 'many' is not a whole number, such as 256, 20k or 1M"),
        ("generate --notes 48 --notes 128", "--notes: must be at most 127, not 128"),
        ("generate --notes 128", "synthcore: --notes: must be at most 127, not 128\n"),
        ("generate --notes -1", "--notes: must be at least 0, not -1"),
        ("generate --notes 60 --notes 60", "names a note twice"),
        ("generate --note-seconds 3", "--note-seconds is 3, longer than --render-seconds (2)"),
        ("generate --fixed-modulation", "--fixed-modulation belongs to tier 2, not to tier 1"),
        ("generate --workers 0", "--workers: must be at least 1, not 0"),
        ("generate --seed -1", "--seed: must be at least 0, not -1"),
        ("generate -o FILE/out.h5", "can't write in"),
        ("generate -o .", "is a folder; name a file"),
        ("generate -o FILE", "is not an HDF5 file"),
        ("generate -o /proc/nowhere/out.h5", "can't write in /proc/nowhere"),
        ("inspect nowhere.h5", "there is no file "),
        ("inspect .", "is a folder; name a file"),
        ("inspect FILE", "FILE is not an HDF5 file"),
        ("inspect TRUNCATED", "is truncated"),
        ("inspect OTHER", "not a synthcore dataset"),
        ("inspect NEWER", "has schema version 9.1.0, this synthcore reads 4.1.0"),
        ("inspect DATASET --row 99", "row 99 is out of range"),
        ("verify nowhere.h5", "there is no file "),
        ("verify FILE", "FILE is not an HDF5 file"),
        ("verify DATASET --rows 0", "--rows: must be at least 1, not 0"),
        (f"inspect {LONG}", "aaa: File name too long; name another"),
        (f"recipe DATASET -o {LONG}", "aaa: File name too long; name another"),
        (f"export DATASET 0 -o {LONG}", "File name too long; name another place"),
        (f"generate -o {LONG}", "aaa: File name too long; name another"),
        (f"ingest {LONG} -o x.h5", "aaa: File name too long; name another"),
    ],
)
def test_bad_input_costs_one_line(
    command: str, says: str, elsewhere: Path, tier_1: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile_files(elsewhere, tier_1.path)
    before = contents(elsewhere)
    assert main(command.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("synthcore: ")
    assert says in err
    assert contents(elsewhere) == before


def hostile_files(folder: Path, dataset: Path) -> None:
    (folder / "FILE").write_text("not a dataset")
    (folder / "DATASET").write_bytes(dataset.read_bytes())
    (folder / "TRUNCATED").write_bytes(dataset.read_bytes()[: dataset.stat().st_size // 2])
    with h5py.File(folder / "OTHER", "w") as file:
        file["x"] = 1
    (folder / "NEWER").write_bytes(dataset.read_bytes())
    with h5py.File(folder / "NEWER", "r+") as file:
        file["schema"].attrs["version"] = "9.1.0"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_bad_environment_or_settings_file_is_named(
    elsewhere: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNTHCORE_TIER", "7")
    assert main(["generate"]) == 2
    assert capsys.readouterr().err == "synthcore: SYNTHCORE_TIER: must be 1, 2 or 3, not 7\n"
    monkeypatch.delenv("SYNTHCORE_TIER")
    (elsewhere / "synthcore.toml").write_text("n_sample = 3\n")
    assert main(["generate"]) == 2
    assert "synthcore.toml sets n_sample, which is not a setting; did you mean n_samples?" in capsys.readouterr().err
    (elsewhere / "synthcore.toml").write_text("n_samples = \n")
    assert main(["generate"]) == 2
    assert "synthcore.toml" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("command", ["generate -n 3", "up", "discover-wt -o catalog.json"])
def test_a_server_that_does_not_answer_costs_one_line(
    command: str, elsewhere: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    monkeypatch.setenv("SYNTHCORE_DATA_DIR", str(elsewhere))
    monkeypatch.setenv("SYNTHCORE_DISCOVER_WT_DATA_DIR", str(elsewhere))
    assert main(command.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    line = err.splitlines()[-1]
    assert line.startswith("synthcore: ")
    assert "http://127.0.0.1:9/api" in line
    assert "unset" in line


@pytest.mark.parametrize(
    "command", [pytest.param("generate -n 3 --data-dir .", marks=pytest.mark.slow), "up", "down", "cache list"]
)
def test_a_profile_that_is_not_toml_is_named_before_a_server_is_started(
    command: str, elsewhere: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    profiles = elsewhere / "profiles.toml"
    profiles.write_text("not [ toml")
    monkeypatch.setenv("PREFECT_HOME", str(elsewhere))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert main(command.split()) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"synthcore: {profiles}, which Prefect reads, is not TOML: Expected '='")
    assert line.endswith("; mend it, or remove it")
    assert not (elsewhere / "synthcore").exists()
    (row,) = doctor._home()
    assert (row.state, row.what.split(", ")[0], row.todo) == ("problem", str(profiles), "mend it, or remove it")


@pytest.mark.parametrize(("command", "says"), [("generate -n 3", " to continue\n"), ("verify x.h5", "interrupted\n")])
def test_ctrl_c_promises_to_continue_only_where_it_does(
    command: str, says: str, elsewhere: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = command.split()[0]
    monkeypatch.setitem(COMMANDS, name, lambda _: signal.raise_signal(signal.SIGINT))
    assert main(command.split()) == 130
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("synthcore: interrupted")
    assert err.endswith(says)


def test_ctrl_c_while_pydantic_serializes_is_one_as_well(
    elsewhere: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It makes an error of its own of what comes then, as it did while a run's state was sent to the server."""
    interrupted = TypeAdapter(Annotated[int, PlainSerializer(lambda _: signal.raise_signal(signal.SIGINT))])
    monkeypatch.setitem(COMMANDS, "verify", lambda _: interrupted.dump_json(1))
    assert main(["verify", "x.h5"]) == 130
    assert capsys.readouterr().err == "synthcore: interrupted\n"


NOT_FOUND, PAGE = b"HTTP/1.0 404 Not Found\r\n", b"Content-Type: text/html\r\n\r\n<html>"


@pytest.mark.slow
@pytest.mark.parametrize("status", [NOT_FOUND, b"HTTP/1.0 200 OK\r\n"])
def test_a_web_server_that_is_not_prefects_is_named(
    status: bytes, elsewhere: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(status + PAGE) as port:
        api = f"http://127.0.0.1:{port}/api"
        monkeypatch.setenv("PREFECT_API_URL", api)
        what = f"what answers at {api}, which PREFECT_API_URL names, isn't a Prefect server"
        finding = next(doctor._server())
        assert (finding.state, finding.what) == ("problem", what)
        assert main(["generate", "-n", "3", "--data-dir", "."]) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert line == f"synthcore: {what}; name one there, whose address ends with /api, or unset it"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 401 Unauthorized\r\n" + PAGE,
        b"HTTP/1.0 503 Service Unavailable\r\n" + PAGE,
        NOT_FOUND + b'Content-Type: application/json\r\n\r\n{"detail": "Not Found"}',
    ],
)
def test_who_refuses_us_may_be_a_prefect_server(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(answer) as port:
        api = f"http://127.0.0.1:{port}/api"
        assert environment.who_answers(api) == "a server"
        monkeypatch.setenv("PREFECT_API_URL", api)
        assert next(doctor._server()).state == "warning"


def test_what_speaks_no_http_is_no_server() -> None:
    with answering(b"SSH-2.0-OpenSSH_9.6\r\n") as port:
        assert not is_healthy(f"http://127.0.0.1:{port}/api")


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    usage = capsys.readouterr().out
    assert all(command in usage for command in COMMANDS)
    assert main(["generate", "--help"]) == 0
    shown = capsys.readouterr().out
    for flag in (
        "-n",
        "--tier",
        "-o",
        "--seed",
        "--workers",
        "--data-dir",
        "--rows-per-shard",
        "--merge",
        "--overwrite",
    ):
        assert re.search(rf"(^|\s){flag}\b", shown, re.MULTILINE), flag


def test_the_version_can_be_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert re.fullmatch(r"synthcore \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_a_folder_of_presets_that_is_not_there_is_named_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wishes = ["-o", str(tmp_path / "x.h5"), "--data-dir", str(tmp_path / "data")]
    assert main(["generate", "--community-dir", str(tmp_path / "nowhere"), *wishes]) == 2
    output = capsys.readouterr().err
    assert str(tmp_path / "nowhere") in output
    assert output.count("\n") == 1


def test_every_setting_is_described() -> None:
    def undescribed(model: Any, at: str = "") -> list[str]:
        found = []
        for name, field in model.model_fields.items():
            if hasattr(field.annotation, "model_fields"):
                found += undescribed(field.annotation, f"{at}{name}.")
            elif not field.description:
                found.append(at + name)
        return found

    assert undescribed(Generate) == []


@pytest.mark.slow
def test_inspect_says_what_is_in_a_dataset(tier_1: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(tier_1.path)]) == 0
    shown = capsys.readouterr().out
    assert tier_1.ref.digest[:12] in shown
    assert tier_1.ref.digest not in shown
    assert [line for line in shown.splitlines() if len(line) > 80 and str(tier_1.path) not in line] == []
    assert main(["inspect", str(tier_1.path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"rows", "tier", "digest", "acceptance", "faults", "coverage"} <= found.keys()
    assert (found["rows"], found["digest"]) == (tier_1.ref.rows, tier_1.ref.digest)
    assert main(["inspect", str(tier_1.path), "--row", "3"]) == 0
    assert "row 3 of" in capsys.readouterr().out
    assert main(["inspect", str(tier_1.path), "--row", "-1", "--all"]) == 0
    shown = capsys.readouterr().out
    assert "row 14 of" in shown
    assert "(not heard)" in shown


@pytest.mark.slow
def test_inspect_says_what_needs_no_audio_before_it_hears_any(
    tier_1: Any, forge: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Here no audio can be read: what was said before stands."""
    file = forge(tier_1)
    place, size = place_of(file, 3)
    with file.open("r+b") as damaged:
        damaged.seek(place)
        damaged.write(b"\xff" * size)
    assert main(["inspect", str(file)]) == 2
    output = capsys.readouterr()
    assert output.out.startswith("forged.h5: 15 rows of tier 1, 8 patches\n")
    assert f"synthcore inspect {file} --row 0\n" in output.out
    assert "how the rows sound" not in output.out
    assert len(output.err.splitlines()) == 1
    assert main(["inspect", str(file), "--json"]) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_inspect_says_its_first_lines_before_it_imports_what_is_slow(tier_1: Any, fresh: Any) -> None:
    code = """
import io
from synthcore.flows import cli
first = []
class Watched(io.StringIO):
    def flush(self):
        heavy = {"rich", "scipy.spatial", "vita", "synthcore.analysis.coverage"}
        first.append((self.getvalue(), heavy & {*sys.modules}))
sys.stdout = Watched()
code = cli.main(["inspect", sys.argv[1]])
sys.stdout, text = sys.__stdout__, sys.stdout.getvalue()
print(code, first[0][1], first[0][0].splitlines()[0], first[0][0] in text, "how the rows sound" in text, sep="|")
"""
    output = fresh(code, tier_1.path).stdout
    assert output == "0|set()|tier-1.h5: 15 rows of tier 1, 8 patches|True|True\n"


@pytest.mark.slow
def test_verify_exits_with_1_and_names_the_row_that_differs(
    tier_1: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(tier_1.path), "--all", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["checked"], found["exact"], found["differing"]) == (tier_1.ref.rows, tier_1.ref.rows, 0)
    copy = tmp_path / "copy.h5"
    copy.write_bytes(tier_1.path.read_bytes())
    with h5py.File(copy, "r+") as file:
        row = file["audio/waveforms"][4]
        row[0, 100] += 1e-6
        file["audio/waveforms"][4] = row
    assert main(["verify", str(copy), "--all"]) == 1
    shown = capsys.readouterr().out
    assert "differing rows: 4\n" in shown
    assert "NOT verified" in shown


@pytest.mark.parametrize("command", ["recipe FILE -o out.h5", "render FILE -o out.h5", "compute-weights FILE"])
def test_a_file_whose_header_is_damaged_costs_one_line(
    command: str, elsewhere: Path, tier_1: Any, forge: Any, forgeries: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    file = forge(tier_1)
    forgeries.registry(file, lambda config: config.clear())
    before = file.read_bytes()
    assert main(command.replace("FILE", str(file)).split()) == 2
    output = capsys.readouterr().err
    assert re.fullmatch(r"synthcore: .*forged\.h5 is damaged .*\n", output)
    assert (file.read_bytes(), list(elsewhere.glob("out.h5"))) == (before, [])


@pytest.mark.slow
def test_names_in_a_file_command_no_terminal(tier_1: Any, forge: Any, capsys: pytest.CaptureFixture[str]) -> None:
    file = forge(tier_1)
    with h5py.File(file, "r+") as opened:
        opened["schema"].attrs["content_digest"] = "[/x] \x1b]0;o\x07"
    assert main(["inspect", str(file)]) == 0
    output = capsys.readouterr().out
    assert "[/x] \N{REPLACEMENT CHARACTER}]0;o\N{REPLACEMENT CHARACTER}" in output
    assert not {"\x1b", "\x07"} & set(output)
    with h5py.File(file, "r+") as opened:
        opened["schema"].attrs["version"] = "\x1b[2J"
    assert main(["inspect", str(file)]) == 2
    assert "\x1b" not in capsys.readouterr().err

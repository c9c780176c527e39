"""The page: whole and valid, deaf to hostile names, the same for the same file, and alive in a real browser."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import soundfile

from synthcore.analysis.axes import short
from synthcore.analysis.words import describe
from synthcore.base import shell
from synthcore.base.errors import SpecError
from synthcore.flows.cli import main
from synthcore.page import content
from synthcore.page import details as page_details
from synthcore.page.charts import TOP, Measure, draw_histograms, silhouette
from synthcore.page.clips import encode_sound
from synthcore.page.writing import BEGINNING, require_replaceable, write_comparison, write_page
from synthcore.storage.dataset import Dataset
from tests.browser import CHROMIUM, Tab, browser

HOSTILE = """</title></script></style><script>window.taken = 1</script><img src=x onerror="taken=1">'"&{{ 7 * 7 }}"""
SECTIONS = {"rows", "measured", "twice", "coverage", "made-of", "provenance"}


class Read(HTMLParser):
    """What a page holds. Fails where its elements aren't nested."""

    VOID = frozenset({"meta", "link", "img", "br", "path", "line", "use", "wbr"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attributes]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attributes]

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data

    def values(self, name: str) -> list[str]:
        return [value for _, own, value in self.attributes if own == name]


def page_of(path: Path) -> str:
    with Dataset(path) as dataset:
        write_page(dataset, path.with_suffix(".html"))
    return path.with_suffix(".html").read_text()


@pytest.fixture(scope="module")
def plain(tier_1: Any, tmp_path_factory: pytest.TempPathFactory) -> Read:
    """The page of a dataset as it was made."""
    path = tmp_path_factory.mktemp("plain") / "plain.h5"
    path.write_bytes(tier_1.path.read_bytes())
    return Read(page_of(path))


def forge_names(path: Path) -> None:
    """Put a hostile name wherever a stranger's text can stand."""
    text = h5py.string_dtype()
    with h5py.File(path, "r+") as file:
        file["metadata/preset_name"][:] = HOSTILE[:80].encode()
        file["metadata/source"][:7] = b"<b>&\"'"
        names = file["schema/classes/wavetable_names"]
        names[:] = [f"{HOSTILE} $x_{{$ {n}" for n in range(len(names))]
        for name in list(file["sources"]):
            del file[f"sources/{name}"]
            file.create_dataset(f"sources/{name}", data=[HOSTILE], dtype=text)
        file["schema"].attrs["gaps"] = '[{"source": "<i>", "first_patch": 3, "patches": 2, "reason": "x"}]'


def forge_weights(path: Path) -> list[str]:
    """Give weights to two controls of tier 1, and to all others of no sound; name these two, the larger first."""
    with h5py.File(path, "r+") as file:
        group, schema = file["importance_weights"], file["schema"].attrs
        for name in ("weights", "categorical"):
            group[name][:], group[f"{name}_error"][:] = 0.0, 0.0
        volume = list(schema["continuous_names"]).index("volume")
        model = list(schema["categorical_names"]).index("filter_1_model")
        group["weights"][volume], group["categorical"][model] = 2.5, 0.5
        group["method"][()] = b"{}"
        group["status"][()] = b"complete"
    return ["volume", "filter_1_model"]


# ---------------------------------------------------------------------------------------------------- without a browser


@pytest.mark.slow
def test_a_page_is_whole_and_loads_nothing(each_tier: Any, forge: Any) -> None:
    page = page_of(forge(each_tier))
    read = Read(page)
    assert page.startswith(BEGINNING)
    ids = read.values("id")
    assert len(ids) == len({*ids})
    assert {*ids} >= SECTIONS
    for address in (*read.values("href"), *read.values("xlink:href"), *read.values("src")):
        assert address.startswith("data:") or address.removeprefix("#") in ids, address[:80]
    assert "srcset" not in page
    assert re.findall(r"url\((?!#|\"data:|&quot;)", page) == []
    assert "@import" not in page
    assert sum(tag == "audio" and name == "src" for tag, name, _ in read.attributes) >= 15


@pytest.mark.slow
def test_it_says_what_inspect_says(tier_1: Any, forge: Any) -> None:
    path = forge(tier_1)
    with Dataset(path) as dataset:
        found = write_page(dataset, path.with_suffix(".html"))
    text = " ".join(Read(path.with_suffix(".html").read_text()).text.split())
    assert found.splits
    said = (
        *found.splits,
        found.digest,
        f"{100 * found.acceptance:.1f} %",
        f"of {found.candidates} candidate",
        *found.faults,
        "15 rows",
    )
    assert [part for part in said if part not in text] == []


@pytest.mark.slow
def test_the_same_file_has_the_same_page(tier_3: Any, forge: Any) -> None:
    path = forge(tier_3)
    assert page_of(path) == page_of(path)


@pytest.mark.slow
def test_hostile_names_are_text(tier_1: Any, forge: Any, plain: Read) -> None:
    path = forge(tier_1)
    forge_names(path)
    hostile = Read(page_of(path))

    def tags(read: Read) -> set[str]:
        return {tag for tag, _, _ in read.attributes}

    assert tags(hostile) <= tags(plain)
    assert [value for _, name, value in hostile.attributes if name.startswith("on")] == []
    assert hostile.text.count("{{ 7 * 7 }}") >= 3
    assert "window.taken = 1" in hostile.text


@pytest.mark.slow
def test_no_script_but_the_pages_own_may_run(plain: Read) -> None:
    policy = next(value for value in plain.values("content") if "script-src" in value)
    assert "default-src 'none'" in policy
    assert re.search(r"script-src 'sha256-[\w+/=]+'$", policy)


@pytest.mark.slow
def test_a_recipe_has_a_page_without_sound(tier_1: Any, forge: Any) -> None:
    path = forge(tier_1)
    with h5py.File(path, "r+") as file:
        del file["audio"]
    read = Read(page_of(path))
    assert "This is a recipe" in read.text
    assert "audio" not in {tag for tag, _, _ in read.attributes}
    assert "rows" not in read.values("id")
    assert {"measured", "twice", "provenance"} <= {*read.values("id")}


@pytest.mark.slow
def test_a_file_without_rows_has_a_page(tier_1: Any, forge: Any) -> None:
    path = forge(tier_1)
    with h5py.File(path, "r+") as file:
        for name in ("audio/waveforms", *(f"{g}/{n}" for g in ("params", "metadata") for n in file[g])):
            old = file[name]
            shape, dtype = (0, *old.shape[1:]), old.dtype
            del file[name]
            file.create_dataset(name, shape, dtype)
    read = Read(page_of(path))
    assert "There is no row to measure." in read.text
    assert main(["inspect", str(path)]) == 0


@pytest.mark.slow
def test_more_rows_than_are_listened_to_are_said(tier_1: Any, forge: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "HEARD", 6)
    monkeypatch.setattr(content, "ROWS", 4)
    text = " ".join(Read(page_of(forge(tier_1))).text.split())
    assert "4 of 15 rows, drawn at random" in text
    assert "the rest of 6 rows, evenly spaced" in text


@pytest.mark.slow
def test_importance_weights_are_ranked(tier_1: Any, forge: Any, plain: Read) -> None:
    path = forge(tier_1)
    assert "weights" not in plain.values("id")
    names = forge_weights(path)
    text = Read(page_of(path)).text
    ranked = text[text.rindex("Importance weights") : text.rindex("Provenance")]
    assert re.findall(r"[a-z]\w+(?=\s+\d\.\d\d)", ranked)[:2] == names
    assert ranked.count("0.00 ±") == 80  # the rest of the tier's 82, and none of a higher tier


@pytest.mark.slow
def test_what_is_added_up_has_no_bar(tier_1: Any, forge: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "LISTED", 1)
    page = page_of(forge(tier_1))
    tables = re.findall(r'<table class="ranked">.*?</table>', page, re.DOTALL)
    ranked = [line for table in tables for line in table.split("<tr>")[2:]]
    assert len({"others" in line for line in ranked}) == 2
    assert ['class="bar"' in line for line in ranked] == ["others" not in line for line in ranked]


def test_a_histogram_takes_its_colours_from_the_page_and_holds_no_address() -> None:
    (drawn,) = draw_histograms([Measure("x", "Title <&>", "Hz", np.geomspace(20, 20_000, 50), is_log=True, mark=100.0)])
    assert "<&>" not in drawn.svg
    assert 'class="mark"' in drawn.svg
    for foreign in ("http", "#", "xmlns", "<style", "font"):
        assert foreign not in drawn.svg, foreign


@pytest.mark.parametrize("values", [[3.0], [0.0], [-5.0, -5.0]])
def test_equal_values_are_one_full_bar(values: list[float]) -> None:
    (drawn,) = draw_histograms([Measure("y", "One", "dB", np.array(values))])
    assert drawn.svg.count(f"V{TOP}H") == 1
    assert drawn.caption.startswith(f"Median {short(values[0])} dB; 5 to 95 %: ")


def test_silence_has_a_histogram_without_bars() -> None:
    (drawn,) = draw_histograms([Measure("z", "Silence", "Hz", np.zeros(3), is_log=True)])
    assert f"V{TOP}H" not in drawn.svg
    assert drawn.caption == "Median 0 Hz; 5 to 95 %: 0 to 0 Hz."


def test_the_same_measure_of_two_datasets_is_drawn_on_the_same_axes() -> None:
    one, other = draw_histograms(
        [Measure("x", "Loudness", "dBFS", values) for values in (np.full(9, -40.0), np.linspace(-10.0, 0.0, 40))]
    )
    assert re.findall(r"<text[^>]*>[^<]+", one.svg) == re.findall(r"<text[^>]*>[^<]+", other.svg)
    assert one.caption == "Median \N{MINUS SIGN}40 dBFS; 5 to 95 %: \N{MINUS SIGN}40 to \N{MINUS SIGN}40 dBFS."


@pytest.mark.slow
def test_each_row_says_how_to_make_it_at_the_synth(tier_3: Any, forge: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = forge(tier_3)
    monkeypatch.chdir(path.parent)
    read = Read(page_of(path))
    text = " ".join(read.text.split())
    with Dataset(path) as dataset:
        for row in range(len(dataset)):
            told, values = describe(dataset, row), dataset.patch(row).values(dataset.registry)
            assert f"synthcore export forged.h5 {row} -o out/" in text
            for said in (*(m.title for m in told.modules), *(c.sentence for c in told.connections)):
                assert said in text
            details = page_details.describe(dataset, row)
            assert [wave.oscillator for wave in details.waves] == [n for n in (1, 2, 3) if values[f"osc_{n}_on"]]
            assert all(wave.outline in read.values("d") for wave in details.waves)


def test_a_command_can_be_typed_whatever_the_file_is_called(tier_1: Any, tmp_path: Path) -> None:
    path = tmp_path / "my sounds.h5"
    path.write_bytes(tier_1.path.read_bytes())
    with Dataset(path) as dataset:
        command = page_details.describe(dataset, 3).command
    assert shlex.split(command) == [shell.program(), "export", str(path), "3", "-o", "out/"]


def test_a_silhouette_is_cut_off_at_twice_the_expected() -> None:
    assert silhouette([1.0, 0.0, 5.0]) == "M0 12V6h1V12h1V0h1V12z"


@pytest.mark.parametrize(("rate", "mime"), [(22_050, "mpeg"), (44_100, "mpeg"), (96_000, "flac"), (50_000, "flac")])
def test_what_plays_is_the_sound(rate: int, mime: str) -> None:
    seconds = np.arange(rate) / rate
    tone = np.stack([np.sin(2 * np.pi * 440 * seconds), 0.5 * np.sin(2 * np.pi * 440 * seconds)]).astype(np.float32)
    head, _, held = encode_sound(tone, rate).partition(",")
    assert head == f"data:audio/{mime};base64"
    heard, its_rate = soundfile.read(io.BytesIO(base64.b64decode(held)))
    assert its_rate == rate
    spectrum = np.abs(np.fft.rfft(heard[:, 0]))
    assert spectrum.argmax() * rate / len(heard) == pytest.approx(440, abs=3)
    assert np.abs(heard).max(axis=0) == pytest.approx([1, 0.5], abs=0.05)


# -------------------------------------------------------------------------------------------------------- the command


@pytest.mark.slow
def test_the_command_writes_a_page_and_replaces_its_own(
    tier_1: Any, forge: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, page = forge(tier_1), tmp_path / "new" / "folder" / "page.html"
    for _ in range(2):
        assert main(["inspect", str(path), "--html", str(page), "--json"]) == 0
    out, err = capsys.readouterr()
    assert out.count('"digest"') >= 2
    # A busy machine takes so long that a line says how far it is.
    assert [line for line in err.splitlines() if not line.startswith("listening: ")] == 2 * [f"page: {page}"]
    assert [file.name for file in page.parent.iterdir()] == ["page.html"]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ("--html DATASET", "DATASET exists and isn't a page that synthcore wrote; name another file with --html"),
        ("--html .", "is a folder; name a file"),
        ("--html DATASET/page.html", "can't write in"),
        ("--html page.html --row 3", "--html is a page of the whole dataset: leave it out, or --row"),
    ],
)
def test_bad_places_cost_one_line(
    flags: str, says: str, tier_1: Any, tmp_path: Path, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "DATASET").write_bytes(tier_1.path.read_bytes())
    before = (tmp_path / "DATASET").read_bytes()
    assert main(["inspect", "DATASET", *flags.split()]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert says in err
    assert (tmp_path / "DATASET").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["DATASET"]


def test_a_page_is_the_only_thing_that_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine.html").write_text("<!DOCTYPE html>\n<p>mine")
    with pytest.raises(SpecError, match="isn't a page that synthcore wrote"):
        require_replaceable(tmp_path / "mine.html")


@pytest.mark.long
def test_the_flow_leaves_a_link_a_table_and_a_picture(tier_1: Any, forge: Any, prefect_api: str, latest: Any) -> None:
    path = forge(tier_1)
    page = path.with_suffix(".html")
    code = "import sys; from synthcore import inspect; inspect(file=sys.argv[1], html=sys.argv[2])"
    command = [sys.executable, "-c", code, str(path), str(page)]
    subprocess.run(command, env={**os.environ, "PREFECT_API_URL": prefect_api}, check=True, capture_output=True)
    assert page.read_text().startswith(BEGINNING)
    assert page.as_uri() in latest("page")
    assert {"what": "digest", "found": tier_1.ref.digest[:12]} in json.loads(latest("findings"))
    assert latest("picture").startswith("![Spectrograms of rows drawn at random")
    assert "near-duplicates" in latest("inspection")


# --------------------------------------------------------------------------------------------------------- in a browser

in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")
PLAY = """(async () => {
  const [one, other] = document.querySelectorAll("#rows .clip");
  const sound = (clip) => clip.querySelector("audio");
  const heard = (clip) => new Promise((done, failed) => {
    sound(clip).addEventListener("timeupdate", () => sound(clip).currentTime > 0.05 && done());
    sound(clip).addEventListener("error", () => failed(sound(clip).error.message));
    clip.querySelector("button").click();
  });
  await heard(one);
  const pressed = one.querySelector("button").getAttribute("aria-pressed");
  await heard(other);
  return [pressed, sound(one).paused, sound(other).currentTime > 0, sound(other).duration];
})()"""
#: Everything that plays can be decoded; the picture of each is there.
DECODE = """(async () => {
  const clips = [...document.querySelectorAll(".clip")];
  const wanted = clips.map((clip) => new Promise((done, failed) => {
    const audio = clip.querySelector("audio");
    audio.addEventListener("loadedmetadata", () => done(audio.duration));
    audio.addEventListener("error", () => failed(audio.error.message));
    audio.preload = "metadata";
    audio.load();
  }));
  const pictures = clips.map((clip) => clip.querySelector("img").decode());
  await Promise.all(pictures);
  return Promise.all(wanted);
})()"""

#: The words that stand in more than one line, of all that a page can show. Hashes in `code` may.
BROKEN = """(() => {
  document.querySelectorAll("details").forEach((one) => { one.open = true; });
  const broken = [], texts = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    if (texts.currentNode.parentElement.closest("code, .unseen")) continue;
    for (const word of texts.currentNode.data.matchAll(/[^\\W_]+/g)) {
      const range = document.createRange();
      range.setStart(texts.currentNode, word.index);
      range.setEnd(texts.currentNode, word.index + word[0].length);
      if (new Set([...range.getClientRects()].map((line) => line.top)).size > 1) broken.push(word[0]);
    }
  }
  return broken;
})()"""


@pytest.fixture(scope="module")
def hostile_page(tier_3: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "forged.h5"
    path.write_bytes(tier_3.path.read_bytes())
    forge_names(path)
    forge_weights(path)
    page_of(path)
    return path.with_suffix(".html")


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.mark.slow
@in_a_browser
@pytest.mark.parametrize("width", [1280, 768, 360])
def test_it_is_readable_at_every_width_light_and_dark(tab: Tab, hostile_page: Path, width: int) -> None:
    papers = set()
    for scheme in ("light", "dark"):
        tab.show(hostile_page, width, scheme=scheme)
        assert tab.run("document.documentElement.scrollWidth") <= width
        papers.add(tab.run("getComputedStyle(document.body).backgroundColor"))
        inks = tab.run("getComputedStyle(document.querySelector('.chart text')).fill")
        assert inks == tab.run("getComputedStyle(document.body).color")
    assert len(papers) == 2


@pytest.mark.slow
@in_a_browser
@pytest.mark.parametrize("width", [1280, 390])
def test_no_word_is_broken_in_two(tab: Tab, tier_1: Any, tier_3: Any, tmp_path: Path, width: int) -> None:
    page = tmp_path / "page.html"
    with Dataset(tier_1.path) as one, Dataset(tier_3.path) as other:
        for write in (lambda: write_page(other, page), lambda: write_comparison(one, other, page)):
            write()
            tab.show(page, width)
            assert tab.run(BROKEN) == []
            assert tab.run("document.documentElement.scrollWidth") <= width


@pytest.mark.slow
@in_a_browser
def test_players_play_one_at_a_time(tab: Tab, hostile_page: Path) -> None:
    tab.show(hostile_page, 1280)
    assert tab.run(PLAY) == ["true", True, True, pytest.approx(0.4, abs=0.1)]
    seconds = tab.run(DECODE)
    assert len(seconds) >= 15
    assert {round(length, 1) for length in seconds} == {0.4}


@pytest.mark.slow
@in_a_browser
def test_it_complains_of_nothing_asks_for_nothing_and_obeys_no_stranger(tab: Tab, hostile_page: Path) -> None:
    tab.requests.clear()  # of pages that were shown before
    tab.show(hostile_page, 1280)
    assert tab.run("window.taken") is None
    assert tab.run("document.title") == "forged.h5 · synthcore"
    assert tab.complaints == []
    assert {address for address in tab.requests if not address.startswith("data:")} == {hostile_page.as_uri()}


@pytest.mark.slow
@in_a_browser
@pytest.mark.parametrize("width", [1280, 390])
def test_a_row_opens_with_the_keyboard_and_its_command_is_copied(tab: Tab, hostile_page: Path, width: int) -> None:
    tab.show(hostile_page, width)
    tab.do("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    tab.run("document.querySelector('#rows summary').focus()")
    for kind in ("keyDown", "keyUp"):
        tab.do("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r")
    assert tab.run("document.querySelector('#rows details').open")
    assert tab.run("document.documentElement.scrollWidth") <= width
    copied = tab.run(
        """(async () => {
          const button = document.querySelector("#rows .copy");
          button.click();
          await new Promise((done) => new MutationObserver(done).observe(button, { childList: true }));
          return [button.textContent, await navigator.clipboard.readText()];
        })()"""
    )
    assert copied[0] == "copied"
    assert copied[1] == tab.run("document.querySelector('#rows code').textContent")

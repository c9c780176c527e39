"""The site: every page and every public name has its place, nothing leads nowhere, nothing comes from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import synthcore
from docs.site.pages import DECISIONS, ELSEWHERE, draw, public_names
from tests.browser import CHROMIUM, browser

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
NAVIGATION = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2].partition("\n\n")[0]


def test_every_page_has_its_place_in_the_navigation() -> None:
    pages = [str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")]
    expected = [page for page in pages if not page.startswith(DECISIONS)] + [*ELSEWHERE.values(), DECISIONS]
    assert sorted(re.findall(r"- (?:[\w ]+: )?([\w/-]+(?:\.md|/))(?: #.*)?$", NAVIGATION, re.M)) == sorted(expected)


def test_every_public_name_has_its_place_among_the_pages_of_the_api() -> None:
    assert sorted(name for names in public_names().values() for name in names) == sorted(synthcore.__all__)


@pytest.mark.parametrize("page", [*DOCS.rglob("*.md"), *(ROOT / page for page in ELSEWHERE)], ids=lambda p: p.name)
def test_code_within_lists_is_indented_by_four_which_both_readers_understand(page: Path) -> None:
    assert not re.findall(r"^(?: {1,3}| {5,7})```.*$", page.read_text(), re.MULTILINE)


def test_a_tower_is_drawn_as_boxes_and_another_chart_is_refused() -> None:
    from mkdocs.exceptions import PluginError

    drawn = draw('flowchart TB\n    a["base & more"] --> b["top"]', "mermaid", "floors", {}, None)
    assert drawn == '<ol class="floors"><li>base &amp; more</li><li>top</li></ol>'
    with pytest.raises(PluginError, match="only a chain"):
        draw('flowchart TB\n    a["one"] --> b["two"]\n    a --> c["three"] --> a', "mermaid", "floors", {}, None)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it; that a warning ends it is in mkdocs.yml."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_every_public_name_has_a_page_made_from_its_docstring(site: Path) -> None:
    for name in synthcore.__all__:
        page = (site / "reference" / f"{name}.html").read_text()
        assert re.search(rf'id="synthcore\.(?:base\.errors\.)?{name}"', page), name
    assert "Rows in the dataset; each patch makes one per note." in (site / "reference" / "generate.html").read_text()
    assert "MIDI velocity of every note" in (site / "reference" / "AudioSpec.html").read_text()


@pytest.mark.slow
def test_no_page_asks_another_host_for_anything(site: Path) -> None:
    pages = [*site.rglob("*.html")]
    assert len(pages) > len(synthcore.__all__)
    for page in pages:
        parts = re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*", page.read_text())
        assert not [part for part in parts if re.search(r'(?:src|href)="?(?:https?:)?//', part)], page


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")
@pytest.mark.parametrize("page", ["index.html", "architecture.html", "reference/generate.html"])
def test_a_browser_shows_a_page_without_a_complaint(site: Path, page: str, tmp_path: Path) -> None:
    with browser(tmp_path) as tab:
        tab.show(site / page, width=1300)
        assert tab.run("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
        assert tab.run("document.body.scrollWidth <= innerWidth")
        assert [*tab.complaints] == []
        assert not [address for address in tab.requests if not address.startswith(("file:", "data:", "blob:"))]

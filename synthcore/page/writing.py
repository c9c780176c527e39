"""Writing: the template is filled in and written to a file."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from synthcore.analysis.comparison import Comparison
from synthcore.analysis.inspection import Inspection
from synthcore.base.atomic import atomic_path
from synthcore.base.counting import how_many
from synthcore.base.errors import SpecError
from synthcore.page.content import Content, gather, gather_both
from synthcore.page.evaluation import EvaluationContent
from synthcore.page.matching import MatchContent
from synthcore.page.nearness import NearnessContent
from synthcore.pipeline.continuing import require_writable
from synthcore.pipeline.tally import duration
from synthcore.storage.dataset import Dataset

#: How every page of ours begins. Any other file is left alone.
BEGINNING = "<!DOCTYPE html>\n<!-- synthcore inspect -->"

PEOPLE, REFUSED = 12, 200  #: authors of one place, and refused presets, that are named at most
WEIGHTS = 40  #: shown at once; the others are folded away


def require_replaceable(output: Path) -> None:
    """Refuse an output that can't be written, or a file that isn't a page. A page is replaced: it can be made again.

    Raises
    ------
    SpecError
    """
    require_writable(output)
    if not output.exists():
        return
    with output.open("rb") as file:
        if file.read(len(BEGINNING)) != BEGINNING.encode():
            raise SpecError(f"{output} exists and isn't a page that synthcore wrote; name another file with --html")


def write_page(dataset: Dataset, output: Path, near: NearnessContent | None = None) -> Inspection:
    """Write a dataset's page; return its numbers. The file appears only when it is whole.

    Parameters
    ----------
    dataset : Dataset
    output : Path
    near : NearnessContent, optional
        How near it comes to other sounds, to be shown as well.

    Raises
    ------
    SpecError
        The output can't be written, or is a file that isn't a page.
    """
    require_replaceable(output)
    content = gather(dataset)
    _write(to_html(content, near), output)
    return content.inspection


def write_comparison(first: Dataset, second: Dataset, output: Path) -> Comparison:
    """Write a page of two datasets side by side, as `write_page` does of one.

    Raises
    ------
    SpecError
        The output can't be written, or is a file that isn't a page.
    """
    require_replaceable(output)
    content = gather_both(first, second)
    _write(_fill("compare.html", page=content, found=content.comparison), output)
    return content.comparison


def write_nearness(content: NearnessContent, output: Path) -> None:
    """Write a page of a dataset beside other sounds, as `write_page` does of one.

    Raises
    ------
    SpecError
        The output can't be written, or is a file that isn't a page.
    """
    _write(_fill_with_script("nearness.html", near=content), output)


def write_evaluation(content: EvaluationContent, output: Path) -> None:
    """Write a page of answers beside the rows that they answer, as `write_page` does of a dataset.

    Raises
    ------
    SpecError
        The output can't be written, or is a file that isn't a page.
    """
    _write(_fill_with_script("evaluation.html", page=content, found=content.found), output)


def write_match(content: MatchContent, output: Path) -> None:
    """Write a page of a sound beside what was found for it, as `write_page` does of a dataset.

    Raises
    ------
    SpecError
        The output can't be written, or is a file that isn't a page.
    """
    _write(_fill_with_script("match.html", match=content), output)


def _write(page: str, output: Path) -> None:
    require_replaceable(output)
    with atomic_path(output) as temporary:
        temporary.write_text(page, encoding="utf-8")


def to_html(content: Content, near: NearnessContent | None = None) -> str:
    """Fill the template. Whatever comes from a dataset is escaped, and only our own script can run."""
    return _fill_with_script(
        "page.html",
        page=content,
        found=content.inspection,
        near=near,
        people=PEOPLE,
        refused=REFUSED,
        ranked_weights=WEIGHTS,
    )


def _fill_with_script(template: str, **values: Any) -> str:
    script = Markup((files(__package__) / "page.js").read_text())
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _fill(template, script=script, allowed=allowed, **values)


def _fill(template: str, **values: Any) -> str:
    environment = Environment(
        loader=PackageLoader("synthcore", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"breakable": Markup("_<wbr>"), "how_many": how_many, "duration": duration}
    style = Markup((files(__package__) / "page.css").read_text())
    return f"{BEGINNING}\n{environment.get_template(template).render(style=style, **values)}\n"

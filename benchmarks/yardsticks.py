"""docs/benchmark.md: how good answers are that need no model, and those of the example's model, on rows that stay.

Run as `python -m benchmarks.yardsticks --folder FOLDER`, with SYNTHCORE_PRESETS naming a folder of presets that people
made. Everything is made in the folder, and what is there already is not made again: stopped, it continues. From
the same presets and on the same type of machine, the page is the same digit for digit.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import describe_machine, read_result, synthcore, write_result

PAGE = Path(__file__).parent.parent / "docs" / "benchmark.md"
EXAMPLE = Path(__file__).parent.parent / "examples" / "train_baseline.py"
#: One second at half the usual rate, each patch at one note of its own: many patches in little time.
PLAYED = (
    *("--notes", "36..84", "--notes-per-patch", 1),
    *("--note-seconds", 0.7, "--render-seconds", 1, "--sample-rate", 22_050),
)
PRESETS = "PRESETS"  #: stands for the folder of presets
RENDERS = 30  #: for each row, of the baseline that searches
#: What is shown of an evaluation, and what it is called here.
SHOWN = {
    "mss": "MSS, dB",
    "distance": "distance, dB",
    "wmfcc": "wMFCC, dB",
    "sot": "SOT",
    "rms_cosine": "RMS cosine",
    "f0_error": "f0, cents",
    "continuous_eq": "knobs",
    "categorical_eq": "menus",
}
PREFACE = """# Benchmark

Written by `python -m benchmarks.yardsticks`; do not edit. How far answers are from the rows of test sets: answers
that need no model, as yardsticks, and those of [the example's model](training.md#a-baseline). Each set is the test
split of a dataset, which is named by its digest: the command above the table makes the same rows again, bit for bit.
So a model that was trained on the training split can be held against the same yardsticks:
`synthcore evaluate answers.h5 --against FILE`.

What the metrics and the yardsticks are is said in [how good an answer is](evaluation.md). Every figure is the mean over
the rows, but that of `f0`, which is the median: an octave weighs too much in a mean. In brackets is the 95 % interval
of the mean. MSS, distance, wMFCC, SOT, f0 and knobs (mean error of the knobs that are heard in the target, of their
range) are better when lower, the RMS cosine and menus (share of right options) when higher; knobs and menus are taken
up to equivalences. `mean`, `nearest` and `search` learn from the training split; for presets that people made, from
that of tier 3, and only rows made from presets count.

"""


@dataclass(frozen=True, slots=True)
class TestSet:
    """Rows to be answered: the test split of a dataset; or those of a source, if another dataset is learned from."""

    name: str
    file: str
    flags: tuple[object, ...]  # of `generate`
    train: str = ""  # the file that is learned from; empty if it is the same
    source: str = ""  # of the rows that count; of any if empty


SETS = (
    TestSet("tier 1", "tier-1.h5", ("--tier", 1, "-n", 3_456, *PLAYED, "--features", "log-mel")),
    TestSet("tier 2", "tier-2.h5", ("--tier", 2, "-n", 800, *PLAYED)),
    TestSet("tier 3", "tier-3.h5", ("--tier", 3, "-n", 1_200, *PLAYED)),
    TestSet(
        "presets that people made",
        "presets.h5",
        (
            "--tier",
            3,
            "-n",
            1,
            *PLAYED,
            "--community-dir",
            PRESETS,
        ),  # a drawn row, which may be one that is learned from
        train="tier-3.h5",
        source="community",
    ),
)


def main() -> int:
    """Measure the sets, write down each as soon as it is measured, and the page of all that were."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.yardsticks", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="for the datasets and what is computed of them")
    parser.add_argument("--only", choices=[one.name for one in SETS], help="measure one set alone")
    given = parser.parse_args()
    presets = os.environ.get("SYNTHCORE_PRESETS")
    if not presets and given.only in (None, SETS[-1].name):
        parser.error("SYNTHCORE_PRESETS must name a folder of presets that people made")
    for one in SETS:
        if given.only in (None, one.name):
            save(measure(one, given.folder.absolute(), presets))
    return 0


def save(found: dict[str, Any]) -> None:
    """Write down a set, in place of what was known of it, and the page."""
    known = {one["name"]: one for one in (*(read_result("yardsticks") or ()), found)}
    write_result("yardsticks", [known[one.name] for one in SETS if one.name in known])
    PAGE.write_text(text(read_result("yardsticks")))


def measure(one: TestSet, folder: Path, presets: str | None) -> dict[str, Any]:
    """Make a set, and evaluate every yardstick on it."""
    data, file = ("--data-dir", folder / "data"), folder / one.file
    flags = [presets if flag == PRESETS else flag for flag in one.flags]
    made = synthcore("generate", *flags, "-o", file, *data).report
    asked = ("--against", file, *(("--split", "all") if one.train else ()), *data)
    learned = ("--train", folder / one.train) if one.train else ()
    answers: dict[str, tuple[object, ...]] = {
        "oracle": ("--baseline", "oracle"),
        f"search, {RENDERS} renders": ("--baseline", "search", "--renders", RENDERS, *learned),
        "nearest": ("--baseline", "nearest", *learned),
        "mean": ("--baseline", "mean", *learned),
        "random": ("--baseline", "random"),
    }
    if one is SETS[0]:
        answers["the example's model"] = (answers_of_model(file, folder),)
    reports = {name: synthcore("evaluate", *which, *asked).report for name, which in answers.items()}
    found = {name: figures(report, one.source) for name, report in reports.items()}
    return {
        "name": one.name,
        "machine": describe_machine(),
        "digest": made["digest"],
        "rows": found["oracle"]["mss"]["rows"],
        "source": one.source,
        "flags": [*map(str, one.flags), "-o", one.file],
        "figures": found,
    }


def answers_of_model(file: Path, folder: Path) -> Path:
    """Train the example's model, and let it answer the test split."""
    answers = folder / "answers.h5"
    if not answers.is_file():
        subprocess.run([sys.executable, EXAMPLE, file, "--output", answers], check=True, stdout=sys.stderr)
    return answers


def figures(report: dict[str, Any], source: str) -> dict[str, Any]:
    """What is kept of an evaluation: of each metric shown, its rows, median, mean and interval."""
    metrics = {
        metric["name"]: metric["groups"]["source"][source] if source else metric["mean_answer"]
        for metric in (*report["audio"], *report["labels"])
    }
    return {name: {key: metrics[name][key] for key in ("rows", "median", "mean", "interval")} for name in SHOWN}


def text(sets: list[dict[str, Any]]) -> str:
    """The whole page."""
    parts = [PREFACE]
    for one in sets:
        which = f" of the source `{one['source']}`" if one.get("source") else ""
        parts += [
            f"## {one['name'].capitalize()}\n\n",
            f"```bash\nsynthcore generate {' '.join(one['flags'])}\n```\n\n",
            f"{one['rows']} rows{which} of the dataset with the digest `{one['digest']}`, measured on ",
            f"{one['machine']}.\n\n",
            f"{table_of(one)}\n",
        ]
    return "".join(parts).rstrip("\n") + "\n"


def table_of(one: dict[str, Any]) -> str:
    """The table of a set: a line for each kind of answers."""
    lines = [f"| answers | {' | '.join(SHOWN.values())} |", f"| --- |{' --- |' * len(SHOWN)}"]
    for name, found in one["figures"].items():
        lines.append(f"| {name} | {' | '.join(_words(metric, found[metric]) for metric in SHOWN)} |")
    return "\n".join(lines) + "\n"


def _words(metric: str, figure: dict[str, Any]) -> str:
    value = figure["median" if metric == "f0_error" else "mean"]
    if value is None:
        return "-"
    if metric in ("f0_error", "sot", "rms_cosine"):
        return f"{value:.3g}"
    low, high = figure["interval"] or (value, value)
    return f"{value:.3g} [{low:.3g}, {high:.3g}]"


if __name__ == "__main__":
    raise SystemExit(main())

"""docs/benchmark.md: how good answers are that need no model, and those of the example's, on sets of rows that stay.

Run as `python -m benchmarks.yardsticks --folder FOLDER`, with the variable REAL_PRESETS naming a folder of presets that
people made. Everything is made in the folder, and what is there already is not made again: stopped, it continues. Of
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
RENDERS = 50  #: for each row, of the baseline that searches
#: What is shown of an evaluation: its name here, and whether its median is shown, or its mean.
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

Written by `python -m benchmarks.yardsticks`; do not edit. How far answers are from the rows of four test sets: answers
that need no model, as yardsticks, and those of the example's model. Each set is named by its digest: who makes it again
by the command above its table has the same rows, bit for bit, and can evaluate a model of their own on them:

```bash
synthcore evaluate answers.h5 --against test.h5 --split all
```

What the metrics and the yardsticks are is said in [how good an answer is](evaluation.md). Every figure is the mean over
the rows, but that of `f0`, which is the median: an octave weighs too much in a mean. In brackets is the 95 % interval
of the mean. MSS, distance, wMFCC, SOT, f0 and knobs (mean error of the knobs that are heard in the target, of their
range) are better when lower, the RMS cosine and menus (share of right options) when higher; knobs and menus are taken
up to equivalences. `mean`, `nearest` and `search` learn from the training split of another dataset, whose command is
given too.

"""


@dataclass(frozen=True, slots=True)
class TestSet:
    """Rows to be answered, and those to learn from."""

    name: str
    tier: int
    train_rows: int
    rows: int
    is_community: bool = False

    @property
    def train_flags(self) -> tuple[object, ...]:
        """Of `generate`, for the rows to learn from."""
        return ("--tier", self.tier, "-n", self.train_rows, *PLAYED)

    @property
    def flags(self) -> tuple[object, ...]:
        """Of `generate`, for the rows that are answered."""
        if not self.is_community:
            return ("--tier", self.tier, "-n", self.rows, "--seed", 1, *PLAYED)
        return ("--tier", self.tier, "-n", self.rows, *PLAYED, "--community-dir", "PRESETS")


SETS = (
    TestSet("tier 1", tier=1, train_rows=6_000, rows=80),
    TestSet("tier 2", tier=2, train_rows=1_500, rows=80),
    TestSet("tier 3", tier=3, train_rows=1_500, rows=80),
    TestSet("presets that people made", tier=3, train_rows=1_500, rows=60, is_community=True),
)


def main() -> int:
    """Measure all sets, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.yardsticks", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="for the datasets and what is computed of them")
    parser.add_argument("--only", choices=[one.name for one in SETS], help="measure one set alone, and write no page")
    given = parser.parse_args()
    presets = os.environ.get("REAL_PRESETS")
    if not presets and given.only in (None, SETS[-1].name):
        parser.error("REAL_PRESETS must name a folder of presets that people made")
    wanted = [one for one in SETS if given.only in (None, one.name)]
    found = [measure(one, given.folder.absolute(), presets) for one in wanted]
    if given.only:
        print(table_of(found[0]))
        return 0
    write_result("yardsticks", {"machine": describe_machine(), "sets": found})
    PAGE.write_text(text(read_result("yardsticks")))
    return 0


def measure(one: TestSet, folder: Path, presets: str | None) -> dict[str, Any]:
    """Make a set, and evaluate every yardstick on it."""
    data = folder / "data"
    train, test = folder / f"train-tier-{one.tier}.h5", folder / f"{one.name.replace(' ', '-')}.h5"
    trained = synthcore("generate", *one.train_flags, "-o", train, "--data-dir", data).report
    flags = [presets if flag == "PRESETS" else flag for flag in one.flags]
    made = synthcore("generate", *flags, "-o", test, "--data-dir", data).report
    asked = ("--against", test, "--split", "all", "--data-dir", data)
    learned = ("--train", train)
    answers: dict[str, tuple[object, ...]] = {
        "oracle": ("--baseline", "oracle"),
        "search": ("--baseline", "search", "--renders", RENDERS, *learned),
        "nearest": ("--baseline", "nearest", *learned),
        "mean": ("--baseline", "mean", *learned),
        "random": ("--baseline", "random"),
    }
    if one.tier == 1:
        answers["model"] = (answers_of_model(train, test, folder),)
    return {
        "name": one.name,
        "digest": made["digest"],
        "rows": made["rows"],
        "flags": [*map(str, one.flags)],
        "train_digest": trained["digest"],
        "train_flags": [*map(str, one.train_flags)],
        "figures": {name: figures(synthcore("evaluate", *which, *asked).report) for name, which in answers.items()},
    }


def answers_of_model(train: Path, test: Path, folder: Path) -> Path:
    """Train the example's model, and let it answer the test set."""
    answers = folder / "answers.h5"
    if not answers.is_file():
        subprocess.run([sys.executable, EXAMPLE, train, "--answer", test, "--output", answers], check=True)
    return answers


def figures(report: dict[str, Any]) -> dict[str, Any]:
    """What is kept of an evaluation: of each metric shown, its median, mean and interval."""
    metrics = {metric["name"]: metric["mean_answer"] for metric in (*report["audio"], *report["labels"])}
    return {name: {key: metrics[name][key] for key in ("median", "mean", "interval")} for name in SHOWN}


def text(result: dict[str, Any]) -> str:
    """The whole page."""
    parts = [PREFACE, f"Measured on {result['machine']}.\n"]
    for one in result["sets"]:
        commands = [("train.h5", one["train_flags"]), ("test.h5", one["flags"])]
        parts += [
            f"\n## {one['name'].capitalize()}\n\n",
            f"{one['rows']} rows, digest `{one['digest']}`; learned from digest `{one['train_digest']}`.\n\n",
            "```bash\n",
            *(f"synthcore generate {' '.join(flags)} -o {file}\n" for file, flags in commands),
            "```\n\n",
            table_of(one),
        ]
    return "".join(parts)


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

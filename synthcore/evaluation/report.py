"""The report of an evaluation: every metric over all rows, and by tier, source and note; what was not answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from rich.table import Table

from synthcore.analysis.inspection import new_table, text_of
from synthcore.base import shell
from synthcore.base.counting import how_many
from synthcore.engine.faults import REASONS
from synthcore.evaluation import statistics
from synthcore.evaluation.answers import Answers
from synthcore.evaluation.choices import ALL, Part
from synthcore.evaluation.curves import Curve
from synthcore.evaluation.metrics import AUDIO_METRICS, LABEL_METRICS, Metric
from synthcore.evaluation.scoring import Scores
from synthcore.evaluation.sound_remarks import remarks_of
from synthcore.evaluation.sounds import SoundFolder
from synthcore.evaluation.targets import Targets

EXAMPLES = 3  #: of the best, median and worst rows each, that are named


class Summary(BaseModel):
    """One metric over some rows."""

    model_config = ConfigDict(frozen=True)

    rows: int  # of which it says something
    families: int  # of these rows
    median: float | None
    mean: float | None
    interval: tuple[float, float] | None  # 95 % of the mean, by drawing families; None where there are too few

    @classmethod
    def of(cls, values: NDArray[np.float64], families: NDArray[np.bytes_]) -> Summary:
        """Sum up a metric over rows; those of which it says nothing, NaN, are left out."""
        found = statistics.summarise(values, families)
        median, mean, low, high = (
            None if np.isnan(x) else x for x in (found.median, found.mean, found.low, found.high)
        )
        interval = None if low is None or high is None else (low, high)
        return cls(rows=found.rows, families=found.families, median=median, mean=mean, interval=interval)

    def figures(self, unit: str) -> tuple[str, str, str]:
        """Median, mean and interval in words."""
        interval = "-" if self.interval is None else " to ".join(f"{end:.3g}" for end in self.interval)
        return _figure(self.median, unit), _figure(self.mean, unit), interval


class MetricSummary(BaseModel):
    """One metric over all rows, and over groups of them."""

    model_config = ConfigDict(frozen=True)

    name: str
    axis: str
    unit: str
    higher_is_better: bool
    source: str
    mean_answer: Summary  # of a row with several answers: the mean of their scores
    best_answer: Summary  # the best of their scores, by this metric
    groups: dict[str, dict[str, Summary]]  # of the mean answer: "note" -> "60"

    def line(self, one: Summary) -> tuple[str, ...]:
        """One of its summaries in words."""
        better = "higher" if self.higher_is_better else "lower"
        return (self.name, self.axis, better, f"{one.rows:,}", *one.figures(self.unit))


class Example(BaseModel):
    """A row to listen to beside its answer."""

    model_config = ConfigDict(frozen=True)

    kind: str  # best, median or worst by the first metric
    row: int
    title: str  # what the row is called
    listen: str  # the command that exports it, or the file to play
    place: int  # of the answer, in its file
    scores: dict[str, float | None]


class Evaluation(BaseModel):
    """How good answers are."""

    model_config = ConfigDict(frozen=True)

    answers: str  # a file, or a baseline
    against: str
    digest: str  # of what is answered
    split: str  # "all" of a folder of sounds, which has none
    rows: int  # to be answered
    answered: int
    unanswered: int
    answers_given: int  # to these rows
    answers_to_other_rows: int
    faults: dict[str, int]  # answers that can't be rendered, scored as silence, by reason
    audio: tuple[MetricSummary, ...]
    labels: tuple[MetricSummary, ...]
    curves: tuple[Curve, ...]  # of the first metric, by control
    examples: tuple[Example, ...]
    sounds: SoundFolder | None = None  # what was answered, if they are not rows of a dataset
    of_answers: tuple[str, ...] = ()  # what else one should know of the answers, in sentences

    @property
    def headline(self) -> str:
        """The most important figure, in a sentence."""
        first = self.audio[0]
        return f"{Path(self.answers).name}: {first.name} {_figure(first.mean_answer.median, first.unit)} (median)"

    def to_text(self) -> str:
        """Describe it for a terminal."""
        head = [
            f"{shell.typed(Path(self.answers))} against {shell.typed(Path(self.against))} ({self.which})",
            f"digest {self.digest}",
            f"{self.what}s {self.rows:,}: {self.answered:,} answered, {self.unanswered:,} without an answer",
            *(f"- {remark}" for remark in self.remarks),
        ]
        tables = [*map(self._table, self.tables), *map(self._grouped, self.audio[:1])]
        return "\n".join(head) + "\n\n" + text_of(tables) + self._commands()

    @property
    def what(self) -> str:
        """What is answered."""
        return "sound" if self.sounds else "row"

    @property
    def which(self) -> str:
        """Which rows are answered, in words."""
        return "a folder of sounds, without labels" if self.sounds else self.split

    @property
    def has_several(self) -> bool:
        """Whether a row has several answers."""
        return self.answers_given > self.answered

    @property
    def remarks(self) -> list[str]:
        """What a reader of the table should know, in sentences."""
        remarks = [
            f"can't be rendered, and scored as silence: {how_many(count, 'answer')} ({REASONS.get(reason, reason)})"
            for reason, count in self.faults.items()
        ]
        if self.has_several:
            one = self.what
            remarks.append(
                f"{how_many(self.answers_given, 'answer')}: the best of a {one}, and the mean of all of a {one}"
            )
        if self.answers_to_other_rows:
            others = "sounds that can't be used" if self.sounds else "rows outside the split"
            remarks.append(f"left out: {how_many(self.answers_to_other_rows, 'answer')} to {others}")
        return [*remarks, *self.of_answers, *(remarks_of(self.sounds) if self.sounds else ())]

    @property
    def tables(self) -> dict[str, list[tuple[str, ...]]]:
        """The figures in words, by what they are of: lines under `headings`. What says nothing is left out."""
        metrics = [metric for metric in (*self.audio, *self.labels) if metric.mean_answer.rows]
        mean = [(metric, metric.mean_answer) for metric in metrics]
        best = [(metric, metric.best_answer) for metric in metrics]
        several = {f"mean of a {self.what}'s answers": mean, "best of them": best}
        shown = several if self.has_several else {"metrics": mean}
        return {title: [metric.line(one) for metric, one in of_all] for title, of_all in shown.items()}

    @property
    def headings(self) -> tuple[str, ...]:
        """What the parts of a line of `tables` are."""
        return ("metric", "axis", "better", f"{self.what}s", "median", "mean", "95 % of the mean")

    def score_text(self, example: Example) -> str:
        """The score of an example by the first metric, in words."""
        first = self.audio[0]
        return f"{first.name} {_figure(example.scores[first.name], first.unit)}"

    def _table(self, title: str) -> Table:
        name, _, better, *others = self.headings
        table = new_table(title, name, better, *others)
        for name, _, better, *others in self.tables[title]:  # what a metric is about finds no room in 80 columns
            table.add_row(name, better, *others)
        return table

    def _grouped(self, metric: MetricSummary) -> Table:
        table = new_table(f"{metric.name} by", "group", "", f"{self.what}s", "median", "mean", "95 % of the mean")
        for group, summaries in metric.groups.items():
            for name, one in summaries.items():
                table.add_row(group, name, f"{one.rows:,}", *one.figures(metric.unit))
        return table

    def _commands(self) -> str:
        """How to listen to the worst row."""
        worst = [example.listen for example in self.examples if example.kind == "worst"][:1]
        return "".join(f"\nto listen to the worst {self.what}:\n  {listen}\n" for listen in worst)


def report(answers: Answers, targets: Targets, split: Part, scores: Scores) -> Evaluation:
    """Sum up the scores of answers.

    Parameters
    ----------
    answers : Answers
    targets : Targets
        What they answer.
    split : Part
    scores : Scores
        Of these answers.
    """
    rows = np.unique(scores.rows).tolist()
    sounds = targets if isinstance(targets, SoundFolder) else None
    families, groups = targets.families(rows), targets.groups(rows)
    first = next(iter(AUDIO_METRICS.values()))
    labels = [metric for metric in LABEL_METRICS.values() if metric.name in targets.metrics]
    return Evaluation(
        answers=answers.name,
        against=targets.path,
        digest=targets.digest,
        split=ALL if sounds else split,
        rows=len(rows) + answers.unanswered,
        answered=len(rows),
        unanswered=answers.unanswered,
        answers_given=len(scores.rows),
        answers_to_other_rows=answers.others,
        faults=dict(Counter(sorted(fault for fault in scores.faults.tolist() if fault))),
        audio=tuple(_summary_of(metric, scores, families, groups) for metric in AUDIO_METRICS.values()),
        labels=tuple(_summary_of(metric, scores, families, groups) for metric in labels),
        curves=targets.curves(per_row(first, scores)[0], rows),
        examples=_examples(scores, first, targets),
        sounds=sounds,
        of_answers=answers.remarks,
    )


def _summary_of(
    metric: Metric,
    scores: Scores,
    families: NDArray[np.bytes_],
    groups: Mapping[str, Mapping[str, NDArray[np.bool_]]],
) -> MetricSummary:
    """Sum up one metric."""
    mean, best = per_row(metric, scores)
    return MetricSummary(
        name=metric.name,
        axis=metric.axis,
        unit=metric.unit,
        higher_is_better=metric.higher_is_better,
        source=metric.source,
        mean_answer=Summary.of(mean, families),
        best_answer=Summary.of(best, families),
        groups={
            group: {name: Summary.of(mean[rows], families[rows]) for name, rows in named.items()}
            for group, named in groups.items()
        },
    )


def per_row(metric: Metric, scores: Scores) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean and the best score of the answers to each row, shape (rows,), by the rows' numbers.

    NaN where the metric says nothing of any answer to a row.
    """
    values = scores.values[metric.name]
    rows, place = np.unique(scores.rows, return_inverse=True)
    known = ~np.isnan(values)
    counts = np.bincount(place[known], minlength=len(rows))
    sums = np.bincount(place[known], values[known], minlength=len(rows))
    best = np.full(len(rows), -np.inf if metric.higher_is_better else np.inf)
    (np.maximum if metric.higher_is_better else np.minimum).at(best, place[known], values[known])
    mean = np.divide(sums, counts, out=np.full(len(rows), np.nan), where=counts > 0)
    return mean, np.where(counts > 0, best, np.nan)


def _examples(scores: Scores, metric: Metric, targets: Targets) -> tuple[Example, ...]:
    """The best, median and worst answers by a metric."""
    values = scores.values[metric.name]
    order = np.argsort(-values if metric.higher_is_better else values, kind="stable")
    order = order[~np.isnan(values[order])]
    middle = max(0, (len(order) - EXAMPLES) // 2)
    chosen = {
        "best": order[:EXAMPLES],
        "median": order[middle : middle + EXAMPLES],
        "worst": order[::-1][:EXAMPLES],
    }
    return tuple(_example(kind, scores, int(one), targets) for kind, some in chosen.items() for one in some)


def _example(kind: str, scores: Scores, answer: int, targets: Targets) -> Example:
    values = {name: float(of[answer]) for name, of in scores.values.items()}
    row = int(scores.rows[answer])
    return Example(
        kind=kind,
        row=row,
        title=targets.title(row),
        listen=targets.listen(row),
        place=int(scores.places[answer]),
        scores={name: None if np.isnan(value) else value for name, value in values.items()},
    )


def _figure(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:.4g} {unit}".rstrip()

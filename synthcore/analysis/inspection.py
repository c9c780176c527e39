"""Inspecting: what a dataset holds, in numbers and in words."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from synthcore.analysis.audio import QUICK, AudioMeasurements, Duplicates, find_duplicates, measure_audio
from synthcore.analysis.coverage import SPAN, Coverage, measure_coverage
from synthcore.analysis.overview import SHORT, WIDTH, Overview, look
from synthcore.analysis.usage import Usage, count_usage
from synthcore.base.counting import how_many, listed
from synthcore.base.errors import SynthcoreError
from synthcore.engine.faults import REASONS
from synthcore.storage.dataset import Dataset
from synthcore.vital.controls import differences, installed
from synthcore.vital.panel import plain

QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)
#: How many refused presets the text lists.
SHOWN = 20
#: How many controls a line names.
FIRST = 8
#: How many of the nearest pairs the text names.
NAMED = 4


class Inspection(Overview):
    """What is in a dataset, including what takes a while: measurements of audio, and coverage of the priors."""

    coverage: Coverage
    duplicates: Duplicates
    usage: Usage
    distributions: dict[str, list[float]]  # at QUANTILES
    other_synth: list[str]  # how the synth installed here differs from the one it was made with

    def to_text(self) -> str:
        """Describe all of it for a terminal."""
        return f"{self.begin_text()}\n{self.rest_text()}"

    def rest_text(self) -> str:
        """Describe what `begin_text` leaves out: how the rows sound, coverage, where it is from, columns."""
        return text_of([self._spread(), self._repeated(), *self._refused(), *self._covered(), *self._made_from()])

    @property
    def findings(self) -> list[dict[str, str]]:
        """What is worth a look first, line by line."""
        twice, covered = self.duplicates, self.coverage
        lines = {
            "rows": f"{self.rows} of tier {self.tier}, {how_many(self.patches, 'patch', 'es')}",
            "accepted": f"{self.acceptance:.1%} of {how_many(self.candidates, 'candidate patch', 'es')}",
            "refused": listed(self.faults) or "none",
            "near-duplicates": twice.near_text,
            "repeats": f"{twice.repeats:.1%} of rows",
            "repeats of own notes": f"{twice.of_own_notes:.1%} of rows",
            "repeats of other patches": f"{twice.of_other_patches:.1%} of rows",
            "thin": covered.thin_text,
            "digest": self.digest[:SHORT],
        }
        return [{"what": what, "found": found} for what, found in lines.items()]

    def _spread(self) -> Table:
        spread = new_table("how the rows sound", "", *("min", "5 %", "median", "95 %", "max"))
        for name, values in self.distributions.items():
            spread.add_row(name, *map(plain, values))
        return spread

    def _refused(self) -> Iterator[Table]:
        """What was refused, and why."""
        candidates = new_table("refused candidates", "reason", "count", "meaning")
        for reason, count in self.faults.items():
            candidates.add_row(reason, str(count), REASONS[reason])
        presets = new_table("refused presets", "file", "reason")
        for preset in self.refused_presets[:SHOWN]:
            presets.add_row(preset.file, preset.reason)
        if len(self.refused_presets) > SHOWN:
            presets.add_row(f"... and {len(self.refused_presets) - SHOWN} more (--json lists all)", "")
        yield from (candidates, presets)

    def _covered(self) -> Iterator[Table]:
        covered = new_table("coverage of the priors", "", "")
        found = self.coverage
        covered.add_row(
            "varied",
            f"{found.continuous_varied} continuous, {how_many(found.categorical_varied, 'categorical control')}",
        )
        covered.add_row("drawn evenly", f"{found.patches} of {how_many(self.patches, 'patch', 'es')}")
        covered.add_row("lowest span", f"{found.lowest_span:.1%} of a prior's range")
        covered.add_row(f"under {SPAN:.0%}", _some({k: f"{v:.0%}" for k, v in found.narrow.items()}))
        missing = {name: f"({', '.join(options)})" for name, options in found.missing_options.items()}
        covered.add_row("missing options", _some(missing))
        covered.add_row("thin", found.thin_text)
        covered.add_row("thinnest", _some({k: f"{v:.0%}" for k, v in found.thin.items()}))
        yield covered

    def _made_from(self) -> Iterator[Table]:
        """Presets, spec, synth and columns."""
        presets = new_table("presets", "from", "commit", "licence", "by", "presets", "rows")
        for found_at in self.presets:
            by = ", ".join(found_at.authors[:3]) + (", ..." if len(found_at.authors) > 3 else "")
            where = found_at.repository or found_at.source
            counts = (str(found_at.presets), str(found_at.rows))
            presets.add_row(where, found_at.commit[:SHORT], found_at.licence, by, *counts)
        made = new_table("how it was made", "", "")
        made.add_row("spec", listed(_cut({k: v for k, v in self.spec.items() if k not in ("audio", "acceptance")})))
        made.add_row("refuses", listed(self.refuses))
        made.add_row("schema", self.version)
        made.add_row("vita", f"{self.engine['vita']} on {self.engine['machine']}")
        made.add_row("synth here", "; ".join(self.other_synth) or "the same")
        shapes = new_table("columns", "name", "shape")
        for name, shape in self.shapes.items():
            shapes.add_row(name, " x ".join(map(str, shape)))
        yield from (presets, made, shapes)

    def _repeated(self) -> Table:
        """What repeats."""
        twice = self.duplicates
        repeated = new_table("the same sound twice", "", "")
        repeated.add_row("repeats", f"{twice.repeats:.1%} of rows: bit for bit another row of the file")
        repeated.add_row("own notes", f"{twice.of_own_notes:.1%} of rows: bit for bit another note of their patch")
        repeated.add_row("other patches", f"{twice.of_other_patches:.1%} of rows: bit for bit a row of another patch")
        if twice.rows_heard:
            repeated.add_row(
                "near-duplicates",
                f"{twice.near_text}: another patch's row among them is less than {twice.near_db:g} dB away",
            )
            nearest = [f"{p.rows[0]} and {p.rows[1]} ({p.apart_db:.1f} dB)" for p in twice.pairs[:NAMED]]
            repeated.add_row("nearest rows", ", ".join(nearest))
        return repeated


def inspect(dataset: Dataset, measured: AudioMeasurements | None = None) -> Inspection:
    """Gather what is in a dataset. Reads all labels, and without `measured` the audio of at most `QUICK` rows."""
    measured = measure_audio(dataset, QUICK) if measured is None else measured
    distributions = {"rms (dBFS)": dataset.column("rms_dbfs"), "peak": dataset.column("peak")}
    distributions |= {"centroid (Hz)": measured.centroids_hz, "sound (s)": measured.sound_seconds}
    distributions["nearest (dB)"] = measured.nearest_db[np.isfinite(measured.nearest_db)]
    return Inspection(
        **dict(look(dataset)),
        coverage=measure_coverage(dataset),
        duplicates=find_duplicates(dataset, measured),
        usage=count_usage(dataset),
        distributions={k: [float(q) for q in np.quantile(v, QUANTILES)] for k, v in distributions.items() if len(v)},
        other_synth=_compare_synths(dataset),
    )


def _compare_synths(dataset: Dataset) -> list[str]:
    try:
        ours = installed()
    except SynthcoreError as error:  # a dataset can be looked at without a synth
        return [str(error)]
    return differences(dataset.registry, ours) if ours.fingerprint != dataset.registry.fingerprint else []


def new_table(title: str, *headings: str) -> Table:
    """Begin a table for a terminal, without a header if all headings are empty."""
    table = Table(title=title, title_justify="left", show_header=any(headings))
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _some(values: dict[str, str]) -> str:
    """Write the first of some findings, and how many there are besides."""
    more = f", ... and {len(values) - FIRST} more (--json lists all)" if len(values) > FIRST else ""
    return listed(dict(list(values.items())[:FIRST])) + more or "none"


def _cut(values: dict[str, Any]) -> dict[str, Any]:
    """Leave out what isn't given, and cut hashes short."""
    return {k: v[:SHORT] if isinstance(v, str) else v for k, v in values.items() if v != ""}


def text_of(tables: list[Table]) -> str:
    """Write the tables that have rows, as wide as any terminal."""
    text = StringIO()
    console = Console(file=text, width=WIDTH, highlight=False, markup=False, emoji=False)  # names may hold anything
    for table in tables:
        if table.row_count:
            console.print(table)
    return text.getvalue()

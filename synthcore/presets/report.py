"""The report of an ingestion: what became of every file that is a preset, or claims to be one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, computed_field

from synthcore.presets.fidelity import VERDICTS, Fidelity
from synthcore.storage import collection as file_format

SHOWN = 20  #: files that the text names under each heading; the JSON names all
Verdict = Literal["accepted", "duplicate", "refused"]


class FileReport(BaseModel):
    """What became of one file."""

    model_config = ConfigDict(frozen=True)

    folder: str
    file: str
    verdict: Verdict
    patch: str = ""  # its hash
    duplicate_of: str = ""  # the accepted file of the same patch
    reason: str = ""  # why it was refused
    changes: dict[str, int] = {}
    fidelity: Fidelity | None = None


class Report(BaseModel):
    """What became of every file."""

    model_config = ConfigDict(frozen=True)

    files: tuple[FileReport, ...]
    notes: tuple[int, ...] = ()  # at which fidelity was measured; none where it wasn't

    def of(self, verdict: Verdict) -> tuple[FileReport, ...]:
        """The files of one verdict."""
        return tuple(file for file in self.files if file.verdict == verdict)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def totals(self) -> dict[str, int]:
        """How many files there are of each verdict, and how many of the accepted ones were changed."""
        verdicts: tuple[Verdict, ...] = ("accepted", "duplicate", "refused")
        return {v: len(self.of(v)) for v in verdicts} | {"changed": sum(bool(f.changes) for f in self.of("accepted"))}

    @computed_field  # type: ignore[prop-decorator]
    @property
    def fidelity(self) -> dict[str, int]:
        """How near the accepted files' patches are to their originals, if that was measured."""
        counts = Counter(file.fidelity.verdict for file in self.of("accepted") if file.fidelity)
        return {verdict: counts[verdict] for verdict in VERDICTS} if self.notes else {}

    def to_text(self) -> str:
        """Say it to people."""
        total, accepted = self.totals, self.of("accepted")
        changes = Counter(what for file in accepted for what in file.changes)
        told = "".join(f", {what} in {files}" for what, files in changes.most_common())
        lines = [
            f"{len(self.files)} presets: {total['accepted']} accepted, {total['duplicate']} duplicates of these, "
            f"{total['refused']} refused",
            f"  changed     {total['changed']}{told}",
        ]
        if self.notes:
            counts = ", ".join(f"{count} {verdict}" for verdict, count in self.fidelity.items())
            lines.append(f"  fidelity    {counts} (largest difference at notes {', '.join(map(str, self.notes))})")
        far = [(f.file, f.fidelity.to_text()) for f in accepted if f.fidelity and f.fidelity.verdict in VERDICTS[2:]]
        lines += _listed("further than 1e-4 from the original", far)
        lines += _listed("refused", [(file.file, file.reason) for file in self.of("refused")])
        return "\n".join(lines) + "\n"


def _listed(heading: str, lines: Sequence[tuple[str, str]]) -> list[str]:
    if not lines:
        return []
    shown = [f"  {file}: {text}" for file, text in lines[:SHOWN]]
    more = [f"  and {len(lines) - SHOWN} more, which the report names"] if len(lines) > SHOWN else []
    return ["", f"{heading}:", *shown, *more]


class Ingested(BaseModel):
    """A collection that was made: where it is, that it is whole, and what became of the files."""

    model_config = ConfigDict(frozen=True)

    collection: str
    digest: str
    report_file: str
    report: Report

    def is_intact(self) -> bool:
        """Whether both files are there, and the collection says its digest."""
        return Path(self.report_file).is_file() and file_format.digest_of(Path(self.collection)) == self.digest

    def to_text(self) -> str:
        """Say what was made, for a terminal."""
        made = (("collection", self.collection), ("digest", self.digest), ("report", self.report_file))
        return self.report.to_text() + "\n" + "".join(f"  {name:<11} {value}\n" for name, value in made)

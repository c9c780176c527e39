"""What was found for a sound, as people and programs read it: files, distances, and what to set on the synth."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from synthcore.analysis.words import PatchWords, describe_patch
from synthcore.base import shell
from synthcore.base.counting import how_many
from synthcore.evaluation.matching import Answer, Match
from synthcore.storage.dataset import Dataset
from synthcore.vital.versions import versions

PAGE = "match.html"  #: within the folder


class ReportedAnswer(BaseModel):
    """One patch that sounds like the target."""

    model_config = ConfigDict(frozen=True)

    row: int  # that plays it, or from which it was searched
    note: int
    velocity: int
    note_seconds: float
    distance_db: float  # to the target, as synthcore.distance says it
    sketch_db: float | None  # of a row: how far its sketch is, with loudness matched
    renders: int  # of its search; 0 of a row
    preset_hash: str  # of the patch; ingesting the preset gives it again
    preset: str
    wav: str
    otherwise: tuple[str, ...]  # what Vital plays differently from the audio
    words: PatchWords

    @property
    def title(self) -> str:
        """Say in a few words which it is."""
        return f"searched from row {self.row}" if self.renders else f"row {self.row}"


class MatchReport(BaseModel):
    """What was found for one sound."""

    model_config = ConfigDict(frozen=True)

    sound: str
    file: str
    rows: int
    folder: str
    changes: tuple[str, ...]  # what it took to compare the sound
    note: int | None  # of the rows that were considered; None for all
    renders: int  # candidates of the search
    is_interrupted: bool
    answers: tuple[ReportedAnswer, ...]  # the nearest first

    @property
    def headline(self) -> str:
        """What was found, in a line."""
        first = self.answers[0]
        return f"{Path(self.sound).name}: the nearest is {first.title}, {first.distance_db:.2f} dB away"

    @property
    def page(self) -> Path:
        """The page to compare the answers on."""
        return Path(self.folder) / PAGE

    @property
    def remarks(self) -> list[str]:
        """What one should know of how they were found."""
        remarks = [f"to be compared, the sound was {', '.join(self.changes)}"] if self.changes else []
        if self.note is not None:
            remarks.append(f"only rows of note {self.note}, the nearest to the one asked for")
        if not self.answers[0].distance_db:
            remarks.append(f"{self.answers[0].title} sounds just like it: nothing can be nearer")
        if self.renders and not self.answers[0].renders:
            remarks.append(f"the search found nothing nearer in {how_many(self.renders, 'render')}")
        if self.is_interrupted:
            remarks.append(f"the search was interrupted after {how_many(self.renders, 'render')}")
        return remarks

    def to_text(self) -> str:
        """Write it for a terminal: all answers, and how to make the nearest."""
        lines = [f"{Path(self.sound).name} beside {how_many(self.rows, 'row')} of {Path(self.file).name}"]
        lines += [f"  {remark}" for remark in self.remarks]
        lines += ["", "distance   sketches   patch"]
        for answer in self.answers:
            sketches = "" if answer.sketch_db is None else f"{answer.sketch_db:.2f} dB"
            renders = f", {how_many(answer.renders, 'render')}" if answer.renders else ""
            lines.append(f"{answer.distance_db:5.2f} dB   {sketches:>8}   {answer.title}, note {answer.note}{renders}")
            lines += [f"{'':24}Vital plays it differently: {', '.join(answer.otherwise)}"] * bool(answer.otherwise)
        first = self.answers[0]
        lines += ["", f"presets, their audio and a page to compare them: {self.folder}"]
        lines += ["", f"How to make the nearest, {first.title}:", *first.words.to_lines()]
        rest = next((answer.row for answer in self.answers[1:] if not answer.renders), None)
        if rest is not None:
            other = shell.command("inspect", Path(self.file), "--row", str(rest))
            lines += ["", f"The page says how to make each of them; for one row, so does {other}"]
        return "\n".join(lines) + "\n"


def report(found: Match, dataset: Dataset, sound: str, folder: Path) -> MatchReport:
    """Put what was found into words; its files will lie in the folder."""
    return MatchReport(
        sound=sound,
        file=str(dataset.path),
        rows=len(dataset),
        folder=str(folder),
        changes=found.target.changes,
        note=found.note,
        renders=found.renders,
        is_interrupted=found.is_interrupted,
        answers=tuple(_reported(answer, dataset, folder, place) for place, answer in enumerate(found.answers, start=1)),
    )


def _reported(answer: Answer, dataset: Dataset, folder: Path, place: int) -> ReportedAnswer:
    played = answer.played
    stem = f"{place}-searched-from-row-{answer.row}" if answer.is_searched else f"{place}-row-{answer.row}"
    return ReportedAnswer(
        row=answer.row,
        note=played.performance.note,
        velocity=played.performance.velocity,
        note_seconds=played.performance.note_seconds,
        distance_db=round(played.distance_db, 4),
        sketch_db=None if answer.sketch_db is None else round(answer.sketch_db, 4),
        renders=answer.renders,
        preset_hash=played.patch.hash,
        preset=str(folder / f"{stem}.vital"),
        wav=str(folder / f"{stem}.wav"),
        otherwise=versions(dataset.registry).otherwise(played.patch),
        words=describe_patch(dataset, played.patch),
    )

"""The report of an ingestion: what became of every file that is a preset or claims to be one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, computed_field

from synthcore.base.counting import how_many
from synthcore.ingest.fidelity import VERDICTS, Fidelity
from synthcore.storage import collection as file_format
from synthcore.vital.reading import CHANGING

SHOWN = 20  #: how many files the text names under each heading; the JSON names all
NAMED = 5  #: how many unknown settings the text names
Verdict = Literal["accepted", "duplicate", "approximate", "refused"]


class FileReport(BaseModel):
    """What became of one file.

    Attributes
    ----------
    verdict : str
        `approximate` if it was left out, because Vital plays it differently from vita.
    version : str
        The version of Vital that the file says it was made with; empty if it doesn't say.
    patch : str
        Its patch's hash.
    duplicate_of : str
        The accepted file of the same patch.
    is_changed : bool
        Whether the patch may sound different from the file, because of what was changed to what the synth can play.
    only_after_changes : bool
        Whether it may differ from `duplicate_of`: one of them was changed, or is played differently by Vital.
    reason : str
        Why it was refused.
    changes : dict of str to int
        How many of its settings were changed, and how: see `ReadPreset`.
    unknown : tuple of str
        Settings that no known version of Vital has.
    otherwise : tuple of str
        What Vital plays differently, each with its value.
    """

    model_config = ConfigDict(frozen=True)

    folder: str
    file: str
    verdict: Verdict
    version: str = ""
    patch: str = ""
    duplicate_of: str = ""
    is_changed: bool = False
    only_after_changes: bool = False
    reason: str = ""
    changes: dict[str, int] = {}
    unknown: tuple[str, ...] = ()
    otherwise: tuple[str, ...] = ()
    fidelity: Fidelity | None = None


class Report(BaseModel):
    """What became of every file. Whatever is counted is counted over all of them."""

    model_config = ConfigDict(frozen=True)

    files: tuple[FileReport, ...]
    notes: tuple[int, ...] = ()  # at which fidelity was measured; empty if it wasn't

    def of(self, verdict: Verdict) -> tuple[FileReport, ...]:
        """The files of one verdict."""
        return tuple(file for file in self.files if file.verdict == verdict)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def totals(self) -> dict[str, int]:
        """How many files got each verdict, how many were changed, and how many hold unknown settings."""
        counts = {verdict: len(self.of(verdict)) for verdict in get_args(Verdict)}
        changed = sum(file.is_changed for file in self.files)
        return {**counts, "changed": changed, "unknown": sum(bool(file.unknown) for file in self.files)}

    @computed_field  # type: ignore[prop-decorator]
    @property
    def by_version(self) -> dict[str, dict[str, int]]:
        """How many files got each verdict, by the version of Vital that they name."""
        counts = Counter((file.version, file.verdict) for file in self.files)
        versions = sorted({file.version for file in self.files}, key=_in_order)
        return {v: {verdict: counts[v, verdict] for verdict in get_args(Verdict)} for v in versions}

    @computed_field  # type: ignore[prop-decorator]
    @property
    def unknown(self) -> dict[str, int]:
        """How many files hold each unknown setting, the most frequent first."""
        return dict(Counter(sorted(name for file in self.files for name in file.unknown)).most_common())

    @computed_field  # type: ignore[prop-decorator]
    @property
    def fidelity(self) -> dict[str, int]:
        """How many patches are how near to their originals, if that was measured."""
        counts = Counter(file.fidelity.verdict for file in self.files if file.fidelity)
        return {verdict: counts[verdict] for verdict in VERDICTS} if self.notes else {}

    def to_text(self) -> str:
        """Describe it for people."""
        total = self.totals
        lines = [
            f"{how_many(len(self.files), 'preset')}: {total['accepted']} accepted, "
            f"{how_many(total['duplicate'], 'duplicate')} of these, "
            f"{total['approximate']} left out as approximate, {total['refused']} refused",
            *(f"  {name:<12} {text}" for name, text in self._summary() if text),
        ]
        far = [(f.file, f.fidelity.to_text()) for f in self.files if f.fidelity and f.fidelity.verdict in VERDICTS[2:]]
        same = [(f.file, f"the same patch as {f.duplicate_of}") for f in self.files if f.only_after_changes]
        lines += _listed("further than 1e-4 from the original", far)
        lines += _listed(
            "Vital plays differently", [(f.file, ", ".join(f.otherwise)) for f in self.files if f.otherwise]
        )
        lines += _listed("duplicates only after changes", same)
        lines += _listed("refused", [(file.file, file.reason) for file in self.of("refused")])
        return "\n".join(lines) + "\n"

    def _summary(self) -> Iterator[tuple[str, str]]:
        """What can be said of all files, each with its heading; empty text where there is nothing to say."""
        total = self.totals
        how = Counter(what for file in self.files for what in file.changes)
        kinds = ", ".join(f"{what} in {how[what]}" for what in CHANGING if how[what])
        yield "changed", _presets(total["changed"], "was", "were", "changed to what the synth can play" + _in(kinds))
        names = [f"{name} in {files}" for name, files in self.unknown.items()]
        more = [f"and {len(names) - NAMED} more"] * (len(names) > NAMED)
        named = ", ".join([*names[:NAMED], *more])
        yield "unknown", _presets(total["unknown"], "has", "have", "settings that the synth doesn't know" + _in(named))
        yield "missing", _presets(how["missing"], "lacks", "lack", "settings that came later, set to their defaults")
        otherwise = sum(bool(file.otherwise) for file in self.files)
        fate = "left out; --approximate takes them" if self.of("approximate") else "taken, as --approximate asks"
        yield "approximate", _presets(otherwise, "is", "are", f"played differently by Vital ({fate})")
        yield "made with", "; ".join(f"{v or 'no version'}: {_counts(c)}" for v, c in self.by_version.items())
        if self.notes:
            counts = ", ".join(f"{count} {verdict}" for verdict, count in self.fidelity.items())
            notes = ", ".join(map(str, self.notes))
            yield "fidelity", f"{counts} (largest difference at notes {notes}, vita against vita)"


def _presets(count: int, one: str, many: str, what: str) -> str:
    """Say something about some presets, with the verb that fits; empty text for none."""
    return f"{how_many(count, 'preset')} {one if count == 1 else many} {what}" if count else ""


def _in(parts: str) -> str:
    return f" ({parts})" if parts else ""


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)


def _in_order(version: str) -> list[tuple[int, str]]:
    """Order versions by their numbers; what isn't a number comes first."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in version.split(".")]


def _listed(heading: str, lines: Sequence[tuple[str, str]]) -> list[str]:
    if not lines:
        return []
    shown = [f"  {file}: {text}" for file, text in lines[:SHOWN]]
    more = [f"  and {len(lines) - SHOWN} more, which the report names"] if len(lines) > SHOWN else []
    return ["", f"{heading}:", *shown, *more]


class IngestResult(BaseModel):
    """A collection that was made: where it is, its digest, and what became of the files."""

    model_config = ConfigDict(frozen=True)

    collection: str
    digest: str
    report_file: str
    report: Report

    def is_intact(self) -> bool:
        """Whether both files are there, and the collection has its digest."""
        return Path(self.report_file).is_file() and file_format.digest_of(Path(self.collection)) == self.digest

    def to_text(self) -> str:
        """Describe what was made, for a terminal."""
        made = (("collection", self.collection), ("digest", self.digest), ("report", self.report_file))
        return self.report.to_text() + "\n" + "".join(f"  {name:<11} {value}\n" for name, value in made)

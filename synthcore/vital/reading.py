"""Reading a preset: from a file's bytes to the patch that plays the same sound.

Presets come in every version. The synth itself migrates older ones to its own version, in a child process, so none of
its rules of migration are written here; the patch is read from what it wrote. It knows nothing of newer ones: they are
given its numbers first, and what it can't play is named (`versions`).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthcore.base.errors import PresetError
from synthcore.base.hashing import canonical_json
from synthcore.engine.play import migrate
from synthcore.vital import parsing, validation
from synthcore.vital.classes import Extras
from synthcore.vital.controls import NOT_A_LABEL, Registry
from synthcore.vital.normalize import to_label
from synthcore.vital.patch import EMPTY_SLOT, MAX_SLOTS, SLOT_SETTINGS, Patch
from synthcore.vital.shapes import canonical_line
from synthcore.vital.versions import Difference, Heard, versions
from synthcore.vital.wavetable import canonical_wavetable

#: Raise it when the same content gives another patch or wavetable, or is refused for another reason.
READER_VERSION = 3
MACROS = ("macro1", "macro2", "macro3", "macro4")
MAX_NAME = 200  #: characters of a name; the longest real one has 60
SAMPLE_KEYS = ("length", "sample_rate", "samples", "samples_stereo")
LARGEST = 1e30  #: larger than any control's value, but still a 32-bit number
UNKNOWN_ROUTE = "unknown modulation"
#: Changes that may make a patch sound different from its file; what is unknown or missing doesn't.
CHANGING = ("clamped", "rounded", UNKNOWN_ROUTE)
#: What the synth knows but doesn't write again: a straight curve, the other channel of a mono sample.
LEFT_OUT = {"line_mapping", "samples_stereo"}
MAX_NAMED = 100  #: how many unknown keys of a preset are named; all are counted
#: What Vital writes around the settings.
AROUND = {*validation.TEXTS, "settings", "synth_version", "license"}


@dataclass(frozen=True)
class ReadPreset:
    """What a preset says.

    Attributes
    ----------
    patch : Patch
    assets : dict of str to bytes
        The canonical JSON of everything that the patch refers to, by SHA-256.
    wavetable_names : dict of str to str
        What the preset calls its wavetables, by SHA-256.
    name, author : str
        Empty if the preset doesn't say.
    macros : tuple of str
        The names of the four macro knobs.
    changes : Counter of str
        How the patch differs from the file: how many values were `clamped`, `rounded`, `missing` or `unknown`, and how
        many modulations are an `unknown modulation`.
    version : str
        The version of Vital that the preset says it was made with.
    unknown : tuple of str
        The keys that neither vita nor any known version of Vital has, at most `MAX_NAMED` of them.
    otherwise : tuple of str
        What Vital plays differently, each with its value: audible features that vita lacks.
    """

    patch: Patch
    assets: dict[str, bytes]
    wavetable_names: dict[str, str]
    name: str
    author: str
    macros: tuple[str, ...]
    changes: Counter[str]
    version: str
    unknown: tuple[str, ...]
    otherwise: tuple[str, ...]

    @property
    def is_changed(self) -> bool:
        """Whether the patch may sound different from the file in the synth."""
        return any(self.changes[what] for what in CHANGING)


def read_preset(content: bytes, registry: Registry) -> ReadPreset:
    """Read a preset file's content. See `read_document`."""
    return read_document(parsing.parse(content), registry)


def read_document(document: dict[str, Any], registry: Registry) -> ReadPreset:
    """Read a preset.

    Parameters
    ----------
    document : dict
        What `parsing.parse` returned.
    registry : Registry

    Raises
    ------
    PresetError
        It isn't a preset, or the synth refuses it or doesn't survive it; the message is the reason.
    Accident, Interrupted
        As `client.migrate`.
    """
    validation.require_loadable(document, registry)
    translated, differences = versions(registry).translate(document)
    mended, changes = validation.mend(translated, registry)
    migrated = migrate(canonical_json(mended).encode())
    if migrated is None:
        raise PresetError("the synth refuses it, or dies of it")
    settings = json.loads(migrated)["settings"]
    unknown = sorted({clean(name) for name in _unknown_keys(document, mended["settings"], settings, registry)})
    changes += Counter(unknown=len(unknown))
    return _Reading(settings, translated, registry, changes).read(differences, tuple(unknown[:MAX_NAMED]))


class _Reading:
    """One preset being read: what the synth wrote, beside what its author wrote."""

    def __init__(
        self, settings: Mapping[str, Any], document: Mapping[str, Any], registry: Registry, changes: Counter[str]
    ) -> None:
        self.settings, self.document, self.registry = settings, document, registry
        self.changes = Counter(changes)
        self.assets: dict[str, bytes] = {}
        self.lost_routes: list[Difference] = []

    def read(self, differences: Sequence[Difference], unknown: tuple[str, ...]) -> ReadPreset:
        tables: list[dict[str, Any]] = self.settings["wavetables"]
        own = [*(self._written("wavetables") or ()), *[None] * len(tables)]
        wavetables = [(self._keep(canonical_wavetable(w, written)), w) for w, written in zip(tables, own, strict=False)]
        slots, curves = self._modulations()
        units, exact_values = self._continuous()
        patch = Patch(
            continuous=units,
            categorical=self._categorical(),
            modulation_slots=slots,
            wavetables=tuple(content for content, _ in wavetables),
            extras=Extras(self._lfos(), self._sample(), self._keep(curves) if curves else None),
            exact_values=exact_values,
        )
        return ReadPreset(
            patch=patch,
            assets=self.assets,
            wavetable_names={content: clean(w.get("name")) for content, w in wavetables},
            name=clean(self.document.get("preset_name")),
            author=clean(self.document.get("author")),
            macros=tuple(clean(self.document.get(m)) or f"MACRO {n}" for n, m in enumerate(MACROS, start=1)),
            changes=self.changes,
            version=clean(self.document["synth_version"]),
            unknown=unknown,
            otherwise=self._heard(patch, differences),
        )

    def _heard(self, patch: Patch, differences: Sequence[Difference]) -> tuple[str, ...]:
        """Name what the patch lacks of the preset and can be heard. A lost route always counts."""
        heard = Heard(patch, self.registry)
        return tuple(clean(d.text) for d in (*differences, *self.lost_routes) if d.can_sound(heard))

    def _continuous(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        values = [self._number(control.name, control.default) for control in self.registry.continuous]
        return to_label(self.registry.continuous, np.array(values))

    def _categorical(self) -> NDArray[np.int32]:
        """Read the options; a number between or beyond them is the nearest one."""
        options = [
            min(max(round(self._number(c.name, c.default)), round(c.low)), round(c.high)) - round(c.low)
            for c in self.registry.categorical
        ]
        return np.array(options, dtype=np.int32)

    def _modulations(self) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Read the slots, and the drawn curves of those in use. What an empty slot holds isn't heard."""
        slots, curves = np.tile(EMPTY_SLOT, (MAX_SLOTS, 1)), {}
        written = self._written("modulations") or ()
        for place, route in enumerate(self.settings["modulations"]):
            ends = self._ends(route)
            if None not in ends:
                slots[place] = [*ends, *(self._number(f"modulation_{place + 1}_{name}") for name in SLOT_SETTINGS)]
                if "line_mapping" in route:
                    curves[str(place)] = canonical_line(route["line_mapping"])
            elif place < len(written) and written[place]["source"] and written[place]["destination"]:
                self._lose(place + 1, written[place])
        return slots, curves

    def _ends(self, route: Mapping[str, Any]) -> list[int | None]:
        """Where a route leads from and to; None for an end that the synth doesn't have."""
        indices = (self.registry.source_index, self.registry.destination_index)
        return [index.get(route[end]) for index, end in zip(indices, ("source", "destination"), strict=True)]

    def _lose(self, number: int, route: Mapping[str, Any]) -> None:
        """Note a route that the synth dropped and wasn't bypassed. If the synth has both ends, Vital drops it too."""
        if self._number(f"modulation_{number}_bypass"):
            return
        self.changes[UNKNOWN_ROUTE] += 1
        if None in self._ends(route):
            text = f"modulation {number}: {route['source']} -> {route['destination']}"
            self.lost_routes.append(Difference(text, lambda _: True))

    def _lfos(self) -> str | None:
        lfos, usual = (
            [canonical_line(lfo) for lfo in lfos] for lfos in (self.settings["lfos"], self.registry.init["lfos"])
        )
        return None if lfos == usual else self._keep(lfos)

    def _sample(self) -> str | None:
        """Read the sample as its author wrote it, if it can be heard: the synth's own copy is rounded to 16 bits again.

        The white noise that every preset begins with differs from file to file.
        """
        given = self._written("sample")
        if not self.settings["sample_on"] or given is None:
            return None
        sample, usual = ({k: s[k] for k in SAMPLE_KEYS if k in s} for s in (given, self.registry.init["sample"]))
        return None if sample == usual else self._keep(sample)

    def _written(self, section: str) -> Any:
        """What the preset's author wrote."""
        return self.document["settings"].get(section)

    def _number(self, name: str, default: float = 0.0) -> float:
        value = self.settings.get(name, default)
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise PresetError(f"{name} is {value!r}, which isn't a number")
        written = self._written(name)
        # The synth keeps 32 bits of a number. If it kept the author's own, take that with all its bits.
        is_own = (
            isinstance(written, int | float) and abs(written) < LARGEST and np.float32(written) == np.float32(value)
        )
        return float(written if is_own else value)

    def _keep(self, content: bytes | Any) -> str:
        text = content if isinstance(content, bytes) else canonical_json(content).encode()
        name = hashlib.sha256(text).hexdigest()
        self.assets[name] = text
        return name


def _unknown_keys(
    document: Mapping[str, Any], mended: Mapping[str, Any], migrated: Mapping[str, Any], registry: Registry
) -> Iterator[str]:
    """Name the keys of a preset that mean nothing to the synth, nor to any known version of Vital."""
    known = versions(registry)
    is_early = document["synth_version"].startswith("0")  # the synth writes its sections in another form
    yield from (key for key in document if key not in AROUND and not known.knows(key, "document"))
    for key, value in document["settings"].items():
        if key in validation.SECTIONS:
            yield from () if is_early else _unread(key, value, migrated[key])
        elif key not in mended and not NOT_A_LABEL.fullmatch(key) and not known.knows(key):  # some only draw
            yield key


def _unread(name: str, written: Any, taken: Any) -> Iterator[str]:
    """Name the keys within a section that the synth didn't write again."""
    if isinstance(written, dict) and isinstance(taken, dict):
        for key, value in written.items():
            if key in taken:
                yield from _unread(f"{name}.{key}", value, taken[key])
            elif key not in LEFT_OUT:
                yield f"{name}.{key}"
    elif isinstance(written, list) and isinstance(taken, list):
        for one, other in zip(written, taken, strict=False):
            yield from _unread(name, one, other)


def clean(text: Any) -> str:
    """Make strangers' text fit for one line of a table: printable and not too long. Anything but text becomes ''."""
    if not isinstance(text, str):
        return ""
    return " ".join("".join(c if c.isprintable() else " " for c in text[: 10 * MAX_NAME]).split())[:MAX_NAME]

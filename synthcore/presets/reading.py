"""Reading a preset: from a file's bytes to the patch that plays the same sound.

Presets of every version come in. The synth itself brings them to its own version, in a child, so no rule of its
migration is written here; the patch is read from what it wrote.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthcore.controls import Registry, canonical_json
from synthcore.engine.client import migrate
from synthcore.errors import PresetError
from synthcore.normalize import to_label
from synthcore.patch import EMPTY_SLOT, MAX_SLOTS, SLOT_SETTINGS, Patch
from synthcore.presets import validation
from synthcore.wavetables.canonical import canonical_wavetable

#: Raise it when the same content gives another patch, or is refused for another reason.
READER_VERSION = 2
MACROS = ("macro1", "macro2", "macro3", "macro4")
MAX_NAME = 200  #: characters of a name; the longest real one has 60
SAMPLE_KEYS = ("length", "sample_rate", "samples", "samples_stereo")
LARGEST = 1e30  #: above any control's value, and still a number in 32 bits
UNKNOWN_ROUTE = "unknown modulation"


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
        Empty where the preset doesn't say.
    macros : tuple of str
        The names of the four macro knobs.
    changes : Counter of str
        What the patch has otherwise than the file: how many values were `clamped`, `rounded`, `missing`, `unknown`.
    """

    patch: Patch
    assets: dict[str, bytes]
    wavetable_names: dict[str, str]
    name: str
    author: str
    macros: tuple[str, ...]
    changes: Counter[str]


def read_preset(content: bytes, registry: Registry) -> ReadPreset:
    """Read a preset file's content.

    Raises
    ------
    PresetError
        It is no preset, or one that the synth refuses or doesn't survive; the message is the reason.
    Accident, Interrupted
        As `client.migrate`.
    """
    document = validation.parse(content)
    validation.require_loadable(document, registry)
    mended, changes = validation.mend(document, registry)
    migrated = migrate(canonical_json(mended).encode())
    if migrated is None:
        raise PresetError("the synth refuses it, or dies of it")
    return _Reading(json.loads(migrated)["settings"], document, registry, changes).read()


class _Reading:
    """One preset being read: what the synth wrote, beside what people wrote."""

    def __init__(
        self, settings: Mapping[str, Any], document: Mapping[str, Any], registry: Registry, changes: Counter[str]
    ) -> None:
        self.settings, self.document, self.registry = settings, document, registry
        self.changes = Counter(changes)
        self.assets: dict[str, bytes] = {}

    def read(self) -> ReadPreset:
        tables: list[dict[str, Any]] = self.settings["wavetables"]
        own = [*(self._asked("wavetables") or ()), *[None] * len(tables)]
        wavetables = [(self._keep(canonical_wavetable(w, written)), w) for w, written in zip(tables, own, strict=False)]
        slots, curves = self._modulations()
        units, exact_values = self._continuous()
        patch = Patch(
            continuous=units,
            categorical=self._categorical(),
            modulation_slots=slots,
            wavetables=tuple(content for content, _ in wavetables),
            extras=(self._lfos(), self._sample(), self._keep(curves) if curves else None),
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
        )

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
        """Read the slots, and the drawn curves of those in use. What an empty slot holds nobody hears."""
        slots, curves = np.tile(EMPTY_SLOT, (MAX_SLOTS, 1)), {}
        for place, route in enumerate(self.settings["modulations"]):
            if not (route["source"] and route["destination"]):
                continue
            ends = [
                self.registry.source_index.get(route["source"]),
                self.registry.destination_index.get(route["destination"]),
            ]
            if None in ends:
                self.changes[UNKNOWN_ROUTE] += 1
                continue
            slots[place] = [*ends, *(self._number(f"modulation_{place + 1}_{name}") for name in SLOT_SETTINGS)]
            if "line_mapping" in route:
                curves[str(place)] = canonical_line(route["line_mapping"])
        # The synth drops what it doesn't know when it loads, without a word.
        asked = sum(bool(m.get("source") and m.get("destination")) for m in self._asked("modulations") or ())
        self.changes[UNKNOWN_ROUTE] += asked - sum(bool(m["source"]) for m in self.settings["modulations"])
        self.changes += Counter()  # forgets what was counted as 0
        return slots, curves

    def _lfos(self) -> str | None:
        lfos, usual = (
            [canonical_line(lfo) for lfo in lfos] for lfos in (self.settings["lfos"], self.registry.init["lfos"])
        )
        return None if lfos == usual else self._keep(lfos)

    def _sample(self) -> str | None:
        """Read the sample as people wrote it, if it can be heard: the synth's own copy is 16 bits, rounded once more.

        The white noise that every preset begins with differs from file to file.
        """
        given = self._asked("sample")
        if not self.settings["sample_on"] or given is None:
            return None
        sample, usual = ({k: s[k] for k in SAMPLE_KEYS if k in s} for s in (given, self.registry.init["sample"]))
        return None if sample == usual else self._keep(sample)

    def _asked(self, section: str) -> Any:
        return self.document["settings"].get(section)

    def _number(self, name: str, default: float = 0.0) -> float:
        value = self.settings.get(name, default)
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise PresetError(f"{name} is {value!r}, which is no number")
        asked = self._asked(name)
        # The synth keeps 32 bits of a number. Where it has the document's own, take that as it was written.
        is_own = isinstance(asked, int | float) and abs(asked) < LARGEST and np.float32(asked) == np.float32(value)
        return float(asked if is_own else value)

    def _keep(self, content: bytes | Any) -> str:
        text = content if isinstance(content, bytes) else canonical_json(content).encode()
        name = hashlib.sha256(text).hexdigest()
        self.assets[name] = text
        return name


def canonical_line(line: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out of an LFO's shape, or a modulation's curve, what nobody hears: its name."""
    return {key: value for key, value in line.items() if key != "name"}


def clean(text: Any) -> str:
    """Make what strangers wrote fit for one line of a table: printable, and not too long. Anything but text is ''."""
    if not isinstance(text, str):
        return ""
    return " ".join("".join(c if c.isprintable() else " " for c in text[: 10 * MAX_NAME]).split())[:MAX_NAME]

"""A patch: one complete, canonical, hashable sound.

Owns the way from the stored label to the `.vital` JSON that is played, and the patch's hash. A patch holds exactly what
is stored, so whatever is rendered from it can be rendered again from the file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synthcore.base.atomic import atomic_path
from synthcore.base.errors import SynthcoreError
from synthcore.base.hashing import canonical_json
from synthcore.vital import nearest
from synthcore.vital.catalog import builtin
from synthcore.vital.classes import EXTRAS, INIT_EXTRAS, Classes, Extras, builtin_classes
from synthcore.vital.controls import VITAL_VERSION, Registry, installed
from synthcore.vital.noises import builtin_samples
from synthcore.vital.normalize import to_units, to_values
from synthcore.vital.wavetable import init_wavetables, playable

MAX_SLOTS = 64  #: of modulation; a 65th kills the synth


class SlotField(IntEnum):
    """What a modulation slot holds: the columns of `modulation_slots`."""

    SOURCE = 0  #: its place in `Registry.sources`; -1 in an empty slot
    DESTINATION = 1  #: its place in `Registry.destinations`
    AMOUNT = 2
    BIPOLAR = 3
    POWER = 4
    STEREO = 5
    BYPASS = 6


SLOT_FIELDS = tuple(field.name.lower() for field in SlotField)
SLOT_SETTINGS = SLOT_FIELDS[SlotField.AMOUNT :]
EMPTY_SLOT = np.array([-1, -1, 0, 0, 0, 0, 0], dtype=np.float32)
OSCILLATORS = 3
#: The parts of a label, as rows, batches and `Patch.from_vectors` call them.
LABELS = ("continuous", "categorical", "modulation_slots", "wavetables", "extras", "exact_values")
#: What a document says besides its sound and its name.
HEAD = {
    "author": "synthcore",
    "comments": "",
    "macro1": "MACRO 1",
    "macro2": "MACRO 2",
    "macro3": "MACRO 3",
    "macro4": "MACRO 4",
    "preset_style": "",
    "synth_version": VITAL_VERSION,
}
#: One sample of silence, for a patch whose sample is off: decoding a sample that isn't heard takes half of a load.
NO_SAMPLE = '{"length":1,"name":"","sample_rate":44100,"samples":"AAA="}'


@dataclass(frozen=True, eq=False)
class Patch:
    """One complete sound, as it is stored.

    Attributes
    ----------
    continuous : ndarray, shape (322,), float32
        Unit values.
    categorical : ndarray, shape (126,), int32
        Option indices.
    modulation_slots : ndarray, shape (64, 7), float32
        `SlotField` in each; source -1 marks an empty slot. The slot's position is part of the sound.
    wavetables : tuple of str
        The SHA-256 of each oscillator's wavetable asset.
    extras : Extras
        The SHA-256 of the assets that it plays instead of the init preset's.
    exact_values : ndarray, shape (322,), float32, or None
        The value of a continuous control whose unit value, being float32 too, only comes near it; otherwise NaN. None
        if there is no such control: only presets have them.
    """

    continuous: NDArray[np.float32]
    categorical: NDArray[np.int32]
    modulation_slots: NDArray[np.float32]
    wavetables: tuple[str, ...]
    extras: Extras = INIT_EXTRAS
    exact_values: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.exact_values is not None and np.isnan(self.exact_values).all():
            object.__setattr__(self, "exact_values", None)  # one patch has one form

    @cached_property
    def hash(self) -> str:
        """SHA-256 in hex over all labels and asset hashes: equal hashes sound the same."""
        digest = hashlib.sha256()
        for array, dtype in ((self.continuous, "<f4"), (self.categorical, "<i4"), (self.modulation_slots, "<f4")):
            digest.update(_plain_bytes(array, dtype))
        digest.update(canonical_json([self.wavetables, self.extras]).encode())
        if self.exact_values is not None:  # all NaNs count as the same
            exact = np.where(np.isnan(self.exact_values), np.float32(np.nan), self.exact_values)
            digest.update(_plain_bytes(exact, "<f4"))
        return digest.hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Patch) and self.hash == other.hash

    def __hash__(self) -> int:
        return hash(self.hash)

    @property
    def asset_names(self) -> tuple[str, ...]:
        """The SHA-256 of every asset that it plays."""
        return tuple(name for name in (*self.wavetables, *self.extras) if name is not None)

    @property
    def exact(self) -> NDArray[np.float32]:
        """`exact_values` as a column, shape (322,), float32: NaN if there are none."""
        return np.full_like(self.continuous, np.nan) if self.exact_values is None else self.exact_values

    @classmethod
    def init(cls, registry: Registry) -> Patch:
        """The init preset as a patch, rounded to its label: 22 defaults lie between two unit values."""
        values, options = registry.defaults
        return cls(
            continuous=to_units(registry.continuous, values),
            categorical=options,
            modulation_slots=np.tile(EMPTY_SLOT, (MAX_SLOTS, 1)),
            wavetables=tuple(hashlib.sha256(text).hexdigest() for text in init_wavetables(registry)),
        )

    @classmethod
    def from_label(cls, label: Mapping[str, NDArray[Any]], classes: Classes) -> Patch:
        """Make the patch of a stored label.

        Parameters
        ----------
        label : mapping of str to ndarray
            All of `LABELS`, as in one row of a file.
        classes : Classes
            What the numbers of wavetables and extras mean in that file.
        """
        wavetables, extras = classes.named(label["wavetables"].tolist(), label["extras"].tolist())
        return cls(
            continuous=label["continuous"],
            categorical=label["categorical"],
            modulation_slots=label["modulation_slots"],
            wavetables=wavetables,
            extras=extras,
            exact_values=label["exact_values"],
        )

    # More parameters than elsewhere: they are a label's parts under their stored names, so that a batch can be passed.
    @classmethod
    def from_vectors(
        cls,
        continuous: ArrayLike,
        categorical: ArrayLike,
        modulation_slots: ArrayLike | None = None,
        wavetables: ArrayLike | None = None,
        extras: ArrayLike | None = None,
        exact_values: ArrayLike | None = None,
        *,
        classes: Classes | None = None,
    ) -> Patch:
        """Make a patch from a model's prediction, or from a row's own label, which gives back the row's patch.

        What can't be played becomes the nearest that can. Unit values are clipped to [0, 1], and whole-number controls
        are rounded. Options are rounded and clipped to those that exist. In modulation, sources and destinations are
        rounded and clipped to their lists, amounts clipped to [-1, 1], powers to [-10, 10], switches rounded to 0 or 1;
        a source that rounds to -1 or less leaves its slot empty.

        Parameters
        ----------
        continuous : array_like, shape (322,)
            Unit values, in the order of `params/continuous`; or of tier 1's columns alone, the others at their
            defaults.
        categorical : array_like, shape (126,)
            Option indices, in the order of `params/categorical`, likewise.
        modulation_slots : array_like, shape (64, 7), optional
            `SlotField` in each; by default all are empty.
        wavetables : array_like, shape (3,), optional
            The class of each oscillator's wavetable: its place in `classes.wavetables`. By default the init preset's.
        extras : array_like, shape (3,), optional
            The class of each of `Extras`. By default 0, the init preset's.
        exact_values : array_like, the shape of `continuous`, optional
            Values that unit values only come near, otherwise NaN; a value that isn't near its unit value is ignored.
        classes : Classes, optional
            `Dataset.classes` of the file that the numbers are from. By default only the built-in wavetables and the
            init preset's.

        Returns
        -------
        Patch

        Raises
        ------
        SynthcoreError
            A vector has another length, holds something that isn't a number, such as NaN, or names a class that
            doesn't exist; the error names the vector.
        """
        registry = installed()
        classes = builtin_classes() if classes is None else classes
        init = cls.init(registry)
        units = nearest.units(continuous, init.continuous, registry)
        own_wavetables = [classes.wavetables.index(name) for name in init.wavetables]
        tables, others = classes.named(
            nearest.numbers(
                "wavetables",
                own_wavetables if wavetables is None else wavetables,
                [len(classes.wavetables)] * OSCILLATORS,
            ),
            nearest.numbers("extras", [0] * len(EXTRAS) if extras is None else extras, list(map(len, classes.extras))),
        )
        return cls(
            continuous=units,
            categorical=nearest.options(categorical, init.categorical, registry),
            modulation_slots=nearest.slots(modulation_slots, init.modulation_slots, registry),
            wavetables=tables,
            extras=others,
            exact_values=nearest.exact_values(exact_values, units, registry),
        )

    def moved(
        self, *, continuous: NDArray[np.float32] | None = None, categorical: NDArray[np.int32] | None = None
    ) -> Patch:
        """The patch with other unit values or options. A control that moves loses its exact value."""
        units = self.continuous if continuous is None else continuous
        return replace(
            self,
            continuous=units,
            categorical=self.categorical if categorical is None else categorical,
            exact_values=np.where(units == self.continuous, self.exact, np.float32(np.nan)),
        )

    def canonical(self) -> Patch:
        """The one patch that stands for all that are the same sound under other labels, by `equivalences.toml`."""
        from synthcore.vital.equivalences import equivalences

        return equivalences(installed()).canonical(self)

    def values(self, registry: Registry) -> dict[str, float]:
        """The raw value of every control, by name: what is played."""
        values = to_values(registry.continuous, self.continuous)
        values = np.where(np.isnan(self.exact), values, self.exact)
        played = dict(zip((c.name for c in registry.continuous), values.tolist(), strict=True))
        for control, option in zip(registry.categorical, self.categorical.tolist(), strict=True):
            played[control.name] = control.low + option
        return played

    def to_json(self, registry: Registry, assets: Mapping[str, bytes], name: str = "") -> str:
        """Write the `.vital` document that is rendered, and that Vital itself opens.

        Parameters
        ----------
        registry : Registry
            Where the columns get their names and ranges.
        assets : mapping of str to bytes
            The canonical JSON of every asset that the patch names, by SHA-256.
        name : str
            The preset's name, which doesn't change the sound.

        Raises
        ------
        KeyError
            `assets` lacks one that the patch names.
        """
        settings: dict[str, Any] = self.values(registry)
        modulations, sample = self._modulations(registry, settings, assets), self._sample(registry, assets)
        sections = {
            "lfos": self._lfos(registry, assets),
            "sample": sample if settings["sample_on"] else NO_SAMPLE,
            "wavetables": f"[{','.join(playable(assets[name].decode()) for name in self.wavetables)}]",
            "modulations": canonical_json(modulations),
        }
        return _json_object({**HEAD, "preset_name": name}, {"settings": _json_object(settings, sections)})

    def _lfos(self, registry: Registry, assets: Mapping[str, bytes]) -> str:
        return registry.init_texts["lfos"] if self.extras.lfos is None else assets[self.extras.lfos].decode()

    def _sample(self, registry: Registry, assets: Mapping[str, bytes]) -> str:
        return registry.init_texts["sample"] if self.extras.sample is None else assets[self.extras.sample].decode()

    def to_preset(self, registry: Registry, assets: Mapping[str, bytes], name: str = "") -> dict[str, Any]:
        """The document that is rendered, with whatever else Vital 1.0 writes, and nothing that only later ones know.

        It says that Vital 1.0 wrote it, because its numbers mean what they mean there; a later Vital converts them. It
        was compared with real presets key by key, and read again; it was never tried in Vital itself.

        Returns
        -------
        dict
            As JSON. vita ignores what it doesn't know, so the sound is the patch's.
        """
        preset: dict[str, Any] = json.loads(self.to_json(registry, assets, name))
        settings = preset["settings"]
        sample = self.extras.sample
        settings["sample"] = registry.init["sample"] if sample is None else json.loads(assets[sample])
        curves = [slot["line_mapping"] for slot in settings["modulations"] if "line_mapping" in slot]
        for part in (settings["sample"], *settings["lfos"], *curves):
            part.setdefault("name", "")  # which labels leave out
        settings |= {
            "view_spectrogram": 0.0,
            **{f"osc_{number}_view_2d": 1.0 for number in range(1, OSCILLATORS + 1)},
        }
        return preset

    def to_vital(self, path: str | Path, *, assets: Mapping[str, bytes] | None = None) -> None:
        """Write the patch as a preset for Vital, named after its file. So a prediction becomes a preset.

        Parameters
        ----------
        path : str or Path
            The `.vital` file, which is replaced if it is there.
        assets : mapping of str to bytes, optional
            What the patch refers to, such as `dataset.assets`. Built-in wavetables and samples needn't be given.

        Raises
        ------
        SynthcoreError
            An asset of the patch is missing, or the file can't be written.
        """
        target = Path(path).expanduser().absolute()
        preset = self.to_preset(installed(), self.held_in(with_builtin(assets)), target.stem)
        with atomic_path(target) as temporary:
            temporary.write_text(canonical_json(preset))

    def held_in(self, assets: Mapping[str, bytes]) -> Mapping[str, bytes]:
        """Return assets after checking that they hold all that the patch refers to.

        Raises
        ------
        SynthcoreError
            One is missing.
        """
        missing = [name for name in self.asset_names if name not in assets]
        if missing:
            raise SynthcoreError(
                f"the patch plays asset {missing[0]}, which isn't built in; give it as assets=dataset.assets"
            )
        return assets

    def _modulations(
        self, registry: Registry, settings: dict[str, Any], assets: Mapping[str, bytes]
    ) -> list[dict[str, Any]]:
        """List the 64 slots with their drawn curves, and put their numbers among the settings."""
        routes: list[dict[str, Any]] = []
        for number, row in enumerate(self.modulation_slots.tolist(), start=1):
            used = row[SlotField.SOURCE] >= 0
            routes.append(
                {
                    "source": registry.sources[int(row[SlotField.SOURCE])] if used else "",
                    "destination": registry.destinations[int(row[SlotField.DESTINATION])] if used else "",
                }
            )
            numbers = zip(SLOT_SETTINGS, row[SlotField.AMOUNT :], strict=True)
            settings.update({f"modulation_{number}_{name}": value for name, value in numbers})
        curves = {} if self.extras.curves is None else json.loads(assets[self.extras.curves])
        for slot, curve in curves.items():
            routes[int(slot)]["line_mapping"] = curve
        return routes


def is_connected(slots: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Say which modulation slots, shape (..., 7), connect something and aren't bypassed: shape (...), bool."""
    connected: NDArray[np.bool_] = (slots[..., SlotField.SOURCE] >= 0) & (slots[..., SlotField.BYPASS] == 0)
    return connected


def _json_object(values: Mapping[str, Any], texts: Mapping[str, str]) -> str:
    """Write values as canonical JSON, followed by fields whose JSON is written already.

    Wavetables and samples are canonical JSON already. Every candidate takes this way: to parse them and write them
    again gives the same text in 1.64 ms instead of 0.96 ms for a drawn patch, and more for presets' large tables.
    """
    return canonical_json(values)[:-1] + "".join(f',"{name}":{text}' for name, text in texts.items()) + "}"


def _plain_bytes(array: NDArray[Any], dtype: str) -> bytes:
    """The bytes of an array, with 0.0 for -0.0: they sound the same."""
    return np.ascontiguousarray(array + array.dtype.type(0), dtype=dtype).tobytes()


def with_builtin(assets: Mapping[str, bytes] | None) -> Mapping[str, bytes]:
    """Add the assets that needn't be given: the built-in catalog's, the built-in samples and the init preset's."""
    samples = {digest: content for _, digest, content in builtin_samples()}
    return {**init_assets(installed()), **builtin().assets, **samples, **(assets or {})}


def init_assets(registry: Registry) -> dict[str, bytes]:
    """The init preset's wavetables as assets, by SHA-256."""
    return {hashlib.sha256(text).hexdigest(): text for text in init_wavetables(registry)}

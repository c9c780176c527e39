"""A patch: one complete, canonical, hashable sound.

Owns the way from the stored label to the `.vital` JSON that is played, and the patch's hash. A patch holds exactly
what is stored, so what is rendered from it can be rendered again from the file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synthcore.controls import VITAL_VERSION, Registry, canonical_json, installed
from synthcore.errors import SynthcoreError
from synthcore.normalize import to_units, to_values
from synthcore.wavetables.canonical import canonical_wavetable, playable

MAX_SLOTS = 64  #: of modulation; a 65th kills the synth
SLOT_FIELDS = ("source", "destination", "amount", "bipolar", "power", "stereo", "bypass")
SLOT_SETTINGS = SLOT_FIELDS[2:]
EMPTY_SLOT = np.array([-1, -1, 0, 0, 0, 0, 0], dtype=np.float32)
#: What a slot's settings can be, in the order of `SLOT_SETTINGS`; bipolar, stereo and bypass are switches.
SLOT_LOW, SLOT_HIGH = (-1.0, 0.0, -10.0, 0.0, 0.0), (1.0, 1.0, 10.0, 1.0, 1.0)
SLOT_IS_SWITCH = (False, True, False, True, True)
OSCILLATORS = 3
#: What a patch can hold besides numbers and wavetables; none of it given means the init preset's.
EXTRAS = ("lfos", "sample", "curves")
#: One sample of silence, for a patch whose sample is off: decoding one that nobody hears is half of a load.
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
        `SLOT_FIELDS` per slot; source -1 marks an empty slot. The slot's position is part of the sound.
    wavetables : tuple of str
        The SHA-256 of each oscillator's wavetable asset.
    extras : tuple of (str or None)
        The SHA-256 of each of `EXTRAS`' assets, None for the init preset's.
    """

    continuous: NDArray[np.float32]
    categorical: NDArray[np.int32]
    modulation_slots: NDArray[np.float32]
    wavetables: tuple[str, ...]
    extras: tuple[str | None, ...] = (None,) * len(EXTRAS)

    @cached_property
    def hash(self) -> str:
        """SHA-256 in hex over every label and asset hash: equal hashes sound the same."""
        digest = hashlib.sha256()
        for array, dtype in ((self.continuous, "<f4"), (self.categorical, "<i4"), (self.modulation_slots, "<f4")):
            # Adding 0.0 makes -0.0 and 0.0, which sound the same, the same bytes.
            digest.update(np.ascontiguousarray(array + array.dtype.type(0), dtype=dtype).tobytes())
        digest.update(canonical_json([self.wavetables, self.extras]).encode())
        return digest.hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Patch) and self.hash == other.hash

    def __hash__(self) -> int:
        return hash(self.hash)

    @classmethod
    def init(cls, registry: Registry) -> Patch:
        """The init preset as a patch."""
        values, options = registry.defaults
        return cls(
            continuous=to_units(registry.continuous, values),
            categorical=options,
            modulation_slots=np.tile(EMPTY_SLOT, (MAX_SLOTS, 1)),
            wavetables=tuple(hashlib.sha256(text).hexdigest() for text in _init_wavetables(registry)),
        )

    @classmethod
    def from_vectors(
        cls,
        continuous: ArrayLike,
        categorical: ArrayLike,
        modulation: ArrayLike | None = None,
        *,
        wavetables: Sequence[str] | None = None,
        extras: Sequence[str | None] | None = None,
        registry: Registry | None = None,
    ) -> Patch:
        """Make a patch of a model's prediction: what can't be played becomes what can.

        Unit values are clipped to [0, 1], and whole-number controls go to the nearest whole number. Options are
        rounded and clipped to those there are. In modulation, sources and destinations are rounded and clipped to
        the lists, amounts to [-1, 1], powers to [-10, 10], switches to 0 or 1; a source that rounds to -1 or less
        leaves its slot empty. A row's own vectors come back as the patch they are of.

        Parameters
        ----------
        continuous : array_like, shape (322,)
            Unit values, in the order of `params/continuous`.
        categorical : array_like, shape (126,)
            Option indices, in the order of `params/categorical`.
        modulation : array_like, shape (64, 7), optional
            As `params/modulation_slots`: `SLOT_FIELDS` per slot. None by default.
        wavetables : sequence of str, optional
            The SHA-256 of each of the three oscillators' wavetables; by default the init preset's.
        extras : sequence of (str or None), optional
            The SHA-256 of each of `EXTRAS`' assets; by default the init preset's.
        registry : Registry, optional
            Whose columns these are; by default the installed synth's.

        Returns
        -------
        Patch

        Raises
        ------
        SynthcoreError
            A vector has another length, or holds what is no number, such as NaN; the error names the vector.
        """
        registry = installed() if registry is None else registry
        init = cls.init(registry)
        slots = init.modulation_slots if modulation is None else modulation
        return cls(
            continuous=_nearest_units(_vector("continuous", continuous, init.continuous.shape), registry),
            categorical=_nearest_options(_vector("categorical", categorical, init.categorical.shape), registry),
            modulation_slots=_nearest_slots(_vector("modulation", slots, init.modulation_slots.shape), registry),
            wavetables=_names("wavetables", wavetables, init.wavetables),
            extras=_names("extras", extras, init.extras),
        )

    def values(self, registry: Registry) -> dict[str, float]:
        """The raw value of every control, by name: what is played."""
        played = dict(
            zip(
                (c.name for c in registry.continuous),
                to_values(registry.continuous, self.continuous).tolist(),
                strict=True,
            )
        )
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
            The canonical JSON of every asset the patch names, by SHA-256.
        name : str
            The preset's name; changes no sound.

        Raises
        ------
        KeyError
            An asset that the patch names is not among `assets`.
        """
        lfos, sample, curves = self.extras
        settings: dict[str, Any] = self.values(registry)
        given_sample = registry.init_texts["sample"] if sample is None else assets[sample].decode()
        modulations = self._modulations(registry, settings)
        if curves is not None:
            for slot, curve in json.loads(assets[curves]).items():
                modulations[int(slot)]["line_mapping"] = curve
        head = canonical_json(
            {
                "author": "synthcore",
                "comments": "",
                "macro1": "MACRO 1",
                "macro2": "MACRO 2",
                "macro3": "MACRO 3",
                "macro4": "MACRO 4",
                "preset_name": name,
                "preset_style": "",
                "synth_version": VITAL_VERSION,
            }
        )
        # The heavy sections are canonical JSON already: parsing and writing them again is most of the cost.
        sections = {
            "lfos": registry.init_texts["lfos"] if lfos is None else assets[lfos].decode(),
            "sample": given_sample if settings["sample_on"] else NO_SAMPLE,
            "wavetables": f"[{','.join(playable(assets[w].decode()) for w in self.wavetables)}]",
            "modulations": canonical_json(modulations),
        }
        body = canonical_json(settings)[:-1] + "".join(f',"{k}":{v}' for k, v in sections.items()) + "}"
        return f'{head[:-1]},"settings":{body}}}'

    def _modulations(self, registry: Registry, settings: dict[str, Any]) -> list[dict[str, Any]]:
        """List the 64 slots, and put their numbers among the settings."""
        routes: list[dict[str, Any]] = []
        for number, row in enumerate(self.modulation_slots.tolist(), start=1):
            used = row[0] >= 0
            routes.append(
                {
                    "source": registry.sources[int(row[0])] if used else "",
                    "destination": registry.destinations[int(row[1])] if used else "",
                }
            )
            settings.update({f"modulation_{number}_{k}": v for k, v in zip(SLOT_SETTINGS, row[2:], strict=True)})
        return routes


def _vector(name: str, given: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Check one predicted vector."""
    try:
        vector = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise SynthcoreError(f"{name} holds what is no number ({error}); give an array of shape {shape}") from error
    if vector.shape != shape:
        raise SynthcoreError(f"{name} has shape {vector.shape}; a patch needs {shape}")
    if not np.isfinite(vector).all():
        where = np.argwhere(~np.isfinite(vector))[0].tolist()
        raise SynthcoreError(
            f"{name} holds {vector[tuple(where)]} at {', '.join(map(str, where))}; a patch needs numbers"
        )
    return vector


def _names(name: str, given: Sequence[Any] | None, usual: tuple[Any, ...]) -> tuple[Any, ...]:
    if given is not None and len(given) != len(usual):
        raise SynthcoreError(f"{name} names {len(given)} assets; a patch needs {len(usual)}")
    return usual if given is None else tuple(given)


def _nearest_units(vector: NDArray[np.float64], registry: Registry) -> NDArray[np.float32]:
    units = np.clip(vector, 0, 1).astype(np.float32)
    quantised = to_units(registry.continuous, to_values(registry.continuous, units))
    # All others stay as they are: there and back can move a unit value by half a step of float32.
    return np.where([c.is_whole for c in registry.continuous], quantised, units)


def _nearest_options(vector: NDArray[np.float64], registry: Registry) -> NDArray[np.int32]:
    return np.clip(np.rint(vector), 0, [len(c.options) - 1 for c in registry.categorical]).astype(np.int32)


def _nearest_slots(matrix: NDArray[np.float64], registry: Registry) -> NDArray[np.float32]:
    ends = np.clip(np.rint(matrix[:, :2]), (-1, 0), (len(registry.sources) - 1, len(registry.destinations) - 1))
    settings = np.clip(matrix[:, 2:], SLOT_LOW, SLOT_HIGH)
    slots = np.hstack([ends, np.where(SLOT_IS_SWITCH, np.rint(settings), settings)]).astype(np.float32)
    return np.where(slots[:, :1] < 0, EMPTY_SLOT, slots)


def content_hash(value: Any) -> str:
    """SHA-256 in hex of a value's canonical JSON: the name of an asset."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def init_assets(registry: Registry) -> dict[str, bytes]:
    """The init preset's wavetables as assets, by SHA-256."""
    return {hashlib.sha256(text).hexdigest(): text for text in _init_wavetables(registry)}


def init_names(registry: Registry) -> dict[str, str]:
    """What the init preset calls its wavetables, by SHA-256."""
    return dict(zip(Patch.init(registry).wavetables, (w["name"] for w in registry.init["wavetables"]), strict=True))


def _init_wavetables(registry: Registry) -> list[bytes]:
    return [canonical_wavetable(wavetable) for wavetable in registry.init["wavetables"]]

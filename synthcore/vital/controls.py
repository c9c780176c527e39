"""The controls of the synth: which there are, what they accept, and which tier they belong to.

A tier is how much of the synth a dataset varies. Owns the vocabulary of every label column. Nothing is listed by hand:
the registry is read from the live synth, or rebuilt from JSON where there isn't one. vita is imported only here, for
discovery, and in the zygote (the process that renders are forked from).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthcore.base.counting import how_many
from synthcore.base.errors import EngineMismatch, SynthcoreError
from synthcore.base.hashing import canonical_json

#: Modulation slots have a column of their own, `modulation_slots`; the view controls only draw.
NOT_A_LABEL = re.compile(r"modulation_\d+_(amount|bipolar|bypass|power|stereo)|view_spectrogram|osc_\d_view_2d")
TIER_1 = re.compile(r"osc_[12]_.*|filter_1_.*|env_1_.*|volume")
#: How a control's name begins: with its module, and its number where there are several.
_MODULE = re.compile(r"(?:osc|env|lfo|random)_\d|filter_(?:\d|fx)|[a-z]+")
#: Options that vita plays but doesn't name. Of the ten numbers that a filter's style takes it names five, those of the
#: analog filters; a comb filter plays six, and 6 to 9 sound like one of these with every model.
NAMELESS = {re.compile(r"filter_(1|2|fx)_style"): ("Band Spread Flange-",)}
#: The parts of a preset that aren't numbers; a patch that changes one stores it as an asset.
SECTIONS = ("lfos", "sample", "wavetables")
#: The version of Vital that numbers options as vita does, and whose presets all later ones read; see `versions.toml`.
#: Vital refuses vita's own mark, 99999.9.9. The audio is the same with either.
VITAL_VERSION = "1.0.7"


@dataclass(frozen=True, slots=True)
class Control:
    """One knob of the synth.

    Attributes
    ----------
    name : str
        The synth's own name, as in a `.vital` file.
    low, high, default : float
        The range and default of the value, in the synth's raw units.
    is_whole : bool
        Whether only whole numbers mean something (transposes, voices, options).
    options : tuple of str
        The names of the options of a categorical control; empty for a continuous one.
    tier : int
        The lowest tier that varies it: 1 or 2.
    """

    name: str
    low: float
    high: float
    default: float
    is_whole: bool
    options: tuple[str, ...]
    tier: int

    @property
    def is_categorical(self) -> bool:
        return bool(self.options)


@dataclass(frozen=True)
class Registry:
    """Every control, modulation source and destination, in the order of the label columns.

    Attributes
    ----------
    controls : tuple of Control
        Sorted by name, so that two builds of the same synth agree on the columns.
    sources, destinations : tuple of str
        What modulation can connect. A name outside these kills the process when it renders.
    init : mapping of str to list or dict
        The init preset's `lfos`, `sample` and `wavetables`.
    """

    controls: tuple[Control, ...]
    sources: tuple[str, ...]
    destinations: tuple[str, ...]
    init: Mapping[str, Any]

    @classmethod
    def from_synth(cls) -> Registry:
        """Discover the registry from the installed vita.

        It asks a process of its own: the init preset's noise sample comes from a random generator that every synth
        made earlier in the same process has advanced.

        Raises
        ------
        SynthcoreError
            vita is missing or doesn't load.
        """
        command = [sys.executable, "-I", "-m", "synthcore.vital.controls"]
        alone = {"PATH": os.defpath}  # a child doesn't start if a thread changes our environment while it is copied
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=alone)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["it gave no reason"])[-1]
            raise SynthcoreError(f"can't ask the synth for its controls: {reason}; run make setup")
        return cls.from_config(done.stdout)

    @classmethod
    def from_config(cls, text: str) -> Registry:
        """Build the registry from `to_config`'s JSON, without a synth."""
        data = json.loads(text)
        return cls(
            controls=tuple(Control(**{**c, "options": tuple(c["options"])}) for c in data["controls"]),
            sources=tuple(data["sources"]),
            destinations=tuple(data["destinations"]),
            init=data["init"],
        )

    def to_config(self) -> str:
        """Serialise to canonical JSON: equal registries give equal text."""
        return canonical_json(
            {
                "controls": [asdict(c) for c in self.controls],
                "sources": self.sources,
                "destinations": self.destinations,
                "init": self.init,
            }
        )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of `to_config`, in hex."""
        return hashlib.sha256(self.to_config().encode()).hexdigest()

    @cached_property
    def continuous(self) -> tuple[Control, ...]:
        return tuple(c for c in self.controls if not c.is_categorical)

    @cached_property
    def categorical(self) -> tuple[Control, ...]:
        return tuple(c for c in self.controls if c.is_categorical)

    @cached_property
    def by_name(self) -> Mapping[str, Control]:
        return {c.name: c for c in self.controls}

    def of_tier(self, tier: int) -> tuple[Control, ...]:
        """The controls that a dataset of this tier varies: 82 at tier 1, all 448 at tiers 2 and 3."""
        return tuple(c for c in self.controls if c.tier <= tier)

    @cached_property
    def source_index(self) -> Mapping[str, int]:
        return {name: i for i, name in enumerate(self.sources)}

    @cached_property
    def destination_index(self) -> Mapping[str, int]:
        return {name: i for i, name in enumerate(self.destinations)}

    @cached_property
    def defaults(self) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """Default values of the continuous controls, shape (322,), and default options, shape (126,)."""
        values = np.array([c.default for c in self.continuous], dtype=np.float64)
        options = np.array([round(c.default - c.low) for c in self.categorical], dtype=np.int32)
        return values, options

    @cached_property
    def init_texts(self) -> Mapping[str, str]:
        """The canonical JSON of each init section, written once."""
        return {name: canonical_json(section) for name, section in self.init.items()}

    def require_same(self, other: Registry, where: str) -> None:
        """Raise `EngineMismatch` naming what differs between the installed synth and a file's registry."""
        if self.fingerprint != other.fingerprint:
            raise EngineMismatch(
                f"{where} was made with another synth: {'; '.join(differences(other, self))}. "
                "Install the vita it names (synthcore inspect shows it)."
            )


def module_of(name: str) -> str:
    """Name the module of a control or of a modulation's destination, as the synth's own names begin.

    Examples
    --------
    >>> module_of("osc_1_level"), module_of("filter_fx_cutoff"), module_of("reverb_dry_wet"), module_of("volume")
    ('osc_1', 'filter_fx', 'reverb', 'volume')
    """
    found = _MODULE.match(name)
    return found[0] if found else name


def differences(theirs: Registry, ours: Registry) -> list[str]:
    """Describe how two registries differ: names missing or new, controls and routes changed."""
    found = []
    pairs: list[tuple[str, Sequence[str], Sequence[str]]] = [
        ("control", list(theirs.by_name), list(ours.by_name)),
        ("modulation source", theirs.sources, ours.sources),
        ("modulation destination", theirs.destinations, ours.destinations),
    ]
    for what, old, new in pairs:
        for verb, names in (("lacks", set(old) - set(new)), ("adds", set(new) - set(old))):
            if names:
                found.append(f"the installed vita {verb} {how_many(len(names), what)} ({_some(names)})")
    both = theirs.by_name.keys() & ours.by_name.keys()
    changed = {n for n in both if theirs.by_name[n] != ours.by_name[n]}
    if changed:
        found.append(f"another range, default or options: {how_many(len(changed), 'control')} ({_some(changed)})")
    return found or ["the init preset or the order of names changed"]


def _some(names: set[str]) -> str:
    shown = sorted(names)[:3]
    return ", ".join(shown) + (", ..." if len(names) > len(shown) else "")


def installed() -> Registry:
    """The registry of the installed vita, discovered once in a process; other threads wait for it."""
    with _discovering:
        return _installed()


_discovering = threading.Lock()
_installed = lru_cache(maxsize=1)(Registry.from_synth)


def discover() -> Registry:
    """Read the registry from the first synth of this process. See `Registry.from_synth`."""
    import vita

    synth = vita.Synth()
    details = [synth.get_control_details(n) for n in sorted(synth.get_controls()) if not NOT_A_LABEL.fullmatch(n)]
    preset = json.loads(synth.to_json())["settings"]
    tempos = tuple(synth.get_control_details("lfo_1_tempo").options)
    return Registry(
        controls=tuple(_control(control, tempos) for control in details),
        sources=tuple(vita.get_modulation_sources()),
        destinations=tuple(vita.get_modulation_destinations()),
        init={name: preset[name] for name in SECTIONS},
    )


def _control(details: Any, tempos: tuple[str, ...]) -> Control:
    options = tuple(details.options) + next((n for name, n in NAMELESS.items() if name.fullmatch(details.name)), ())
    if details.min and options:
        # The delay's tempos begin at the fifth, and vita names them from the first: 9, at which echoes are an eighth
        # note apart, it calls 2/1.
        options = tempos[int(details.min) :]
    return Control(
        name=details.name,
        low=float(details.min),
        high=float(len(options) - 1 + details.min if options else details.max),
        default=float(details.default_value),
        is_whole=bool(details.is_discrete),
        options=options,
        tier=1 if TIER_1.fullmatch(details.name) else 2,
    )


if __name__ == "__main__":
    sys.stdout.write(discover().to_config())

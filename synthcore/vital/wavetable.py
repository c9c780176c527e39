"""The canonical form of a wavetable: tables that the synth plays alike have equal bytes, whatever people call them.

Owns what belongs to a wavetable's content and what doesn't, and the way back to what is played.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

import numpy as np

from synthcore.base.hashing import canonical_json
from synthcore.vital.controls import VITAL_VERSION, Registry

#: What vita writes besides the sound. Of these, only a missing version changes how a table is read again.
_LABELS = ("author", "name", "version")
_AUDIO = "Audio File Source"
_ROUNDING = 1  #: how far vita's copy of a 16-bit recording can lie from what it read
_VOCODED = 2  #: the phase style of an audio file source whose phases are drawn by its `random_seed`


def canonical_wavetable(migrated: Mapping[str, Any], written: Mapping[str, Any] | None = None) -> bytes:
    """Write one wavetable in its canonical form. Its SHA-256 is the wavetable's id.

    Parameters
    ----------
    migrated : mapping
        One entry of `settings.wavetables` as vita wrote it: every version writes another text.
    written : mapping, optional
        The same as its author's Vital wrote it: vita rounds recordings once more whenever it writes them.

    Returns
    -------
    bytes
        Canonical JSON without author, name, version and unused random seeds: vita makes up a new seed whenever it loads
        a table without one.
    """
    content = {key: value for key, value in migrated.items() if key not in _LABELS}
    content["groups"] = [
        {
            **group,
            "components": [_with_own_audio(_without_idle_seed(c), own) for c, own in _pairs(group, of, "components")],
        }
        for group, of in _pairs(migrated, written or {}, "groups")
    ]
    return canonical_json(content).encode()


def playable(canonical: str) -> str:
    """Write a canonical wavetable as it is played, and opened by Vital: canonical JSON again, with empty labels.

    A table without a version would be read as one of the oldest, whose samples mean something else.
    """
    head, key, tail = canonical[1:-1].rpartition(',"remove_all_dc":')
    return f'{{"author":"",{head},"name":""{key}{tail},"version":"{VITAL_VERSION}"}}'


def init_wavetables(registry: Registry) -> list[bytes]:
    """The init preset's wavetables in their canonical form, one for each oscillator."""
    return [canonical_wavetable(wavetable) for wavetable in registry.init["wavetables"]]


def init_names(registry: Registry) -> dict[str, str]:
    """The init preset's names of its wavetables, by SHA-256."""
    named = zip(init_wavetables(registry), registry.init["wavetables"], strict=True)
    return {hashlib.sha256(content).hexdigest(): wavetable["name"] for content, wavetable in named}


def count_frames(wavetable: Mapping[str, Any]) -> int:
    """Count a wavetable's frames in the synth, 1..257: up to its last keyframe, where `wave_frame` stops."""
    last = 0
    for group in wavetable["groups"] or ():
        for component in group["components"] or ():
            last = max([last, *(keyframe["position"] for keyframe in component["keyframes"] or ())])
    return last + 1


def _without_idle_seed(component: Mapping[str, Any]) -> dict[str, Any]:
    if component.get("phase_style") == _VOCODED:
        return dict(component)
    return {key: value for key, value in component.items() if key != "random_seed"}


def _pairs(migrated: Mapping[str, Any], written: Mapping[str, Any], part: str) -> list[tuple[Any, Any]]:
    """Pair the items of vita's list with what the author's Vital wrote in their places, if anything."""
    own = written.get(part) or ()
    return list(zip_longest(migrated[part] or (), own[: len(migrated[part] or ())], fillvalue={}))


def _with_own_audio(component: dict[str, Any], written: Mapping[str, Any]) -> dict[str, Any]:
    """Give a component its author's recording, if vita's differs only by rounding."""
    if component["type"] != _AUDIO or written.get("type") != _AUDIO:
        return component
    copy, own = (base64.b64decode(audio["audio_file"]) for audio in (component, written))
    own = own[: len(copy)]  # vita leaves out what no keyframe reaches
    if len(copy) != len(own) or len(own) % 2:  # of an old version, in another format
        return component
    apart = np.abs(np.subtract(*(np.frombuffer(audio, "<i2").astype(int) for audio in (copy, own))))
    is_rounded = not (apart > _ROUNDING).any()
    return {**component, "audio_file": base64.b64encode(own).decode()} if is_rounded else component

"""Derived columns: made from the labels when shards are merged, by versioned rules. New rules need no new renders.

Which controls can be heard, which family a row belongs to, which split the family is in, and which rows clip.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthcore.base.hashing import canonical_json
from synthcore.sources import splits as families
from synthcore.sources.splits import family_of, split_of
from synthcore.spec import CLIPS_ABOVE
from synthcore.storage.labels import patch_at
from synthcore.vital.activity import Labels, activity, activity_rules
from synthcore.vital.classes import Classes
from synthcore.vital.controls import Registry
from synthcore.vital.patch import Patch

Columns = dict[str, NDArray[Any]]


class Derived:
    """Makes the derived columns of one dataset.

    Parameters
    ----------
    registry : Registry
    families : mapping of str to str
        The family of every preset that a row may descend from, by the preset's hash.
    """

    def __init__(self, registry: Registry, families: Mapping[str, str]) -> None:
        self._activity = activity(registry)
        self._families = families
        self._init = Patch.init(registry).wavetables

    @property
    def rules(self) -> dict[str, object]:
        """What the header says about the rules."""
        return {
            "active_names": list(self._activity.names),
            "active_rules": activity_rules().version,
            "active_rules_digest": activity_rules().digest,
            "split_rules": families.VERSION,
            "split_shares": canonical_json(families.SHARES),
        }

    def of(self, labels: Columns, classes: Classes) -> Columns:
        """The derived columns of a shard's rows.

        Parameters
        ----------
        labels : dict of str to ndarray
            The columns of a shard, by their names in the file. The rows of a patch follow each other.
        classes : Classes
            What the shard's labels refer to.
        """
        places = labels["metadata/patch_index"]
        first = np.flatnonzero(np.diff(places, prepend=places[0] - 1))
        of_patches = {name: values[first] for name, values in labels.items()}
        names = [self._family(of_patches, patch, classes) for patch in range(len(first))]
        found: Columns = {
            "params/active": self._activity.of(self._labels(of_patches, classes)),
            "metadata/family": np.array(names, dtype="S64"),
            "metadata/split": np.array([split_of(name) for name in names], dtype="S5"),
        }
        notes = np.diff(first, append=len(places))
        repeated = {name: np.repeat(values, notes, axis=0) for name, values in found.items()}
        return {**repeated, "metadata/clips": clips(labels["metadata/peak"])}

    def _labels(self, patches: Columns, classes: Classes) -> Labels:
        return Labels(
            continuous=patches["params/continuous"],
            categorical=patches["params/categorical"],
            slots=patches["params/modulation_slots"],
            one_frame=np.isin(classes.wavetables, self._init)[patches["params/wavetables"]],
        )

    def _family(self, patches: Columns, patch: int, classes: Classes) -> str:
        """A preset's family is its own, as people made it; a variation's is that of its first parent."""
        if parent := patches["metadata/parents"][patch, 0].decode():
            return self._families[parent]
        return family_of(patch_at(patches, patch, classes))


def clips(peaks: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which rows clip, by their peaks, as exactly as candidates are judged: both of shape (N,)."""
    found: NDArray[np.bool_] = peaks.astype(np.float64) > CLIPS_ABOVE
    return found

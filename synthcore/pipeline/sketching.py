"""Sketching: from sounds to sketches in the data directory, a file to a plan, named by content."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import StringConstraints

from synthcore.analysis.audio import SPANS, sketch
from synthcore.analysis.distances import RESOLUTIONS
from synthcore.analysis.nearness import Sketches, rms_dbfs, take
from synthcore.base import progress
from synthcore.base.atomic import atomic_path
from synthcore.base.errors import SynthcoreError
from synthcore.base.hashing import file_checksum
from synthcore.engine.stopping import raise_if_stopped
from synthcore.pipeline.sounds import NamedSound, SketchPlan, find
from synthcore.storage.refs import ResultRef

LEVELS = 2 * RESOLUTIONS[0][1] * SPANS  #: numbers in a sketch


class SketchRef(ResultRef):
    """Finished sketches."""

    name: Annotated[str, StringConstraints(pattern=r"^[\w-]+(/[\w-]+)*\.npz$")]  # within the data directory


def sketch_plan(plan: SketchPlan, data_dir: Path) -> SketchRef:
    """Sketch the sounds of a plan, and write the sketches down. Reports each to `synthcore.base.progress`.

    Raises
    ------
    SynthcoreError
        As `hear`; or the file can't be written.
    """
    drawn: dict[str, list[Any]] = {name: [] for name in ("levels", "rms_dbfs", "patches", "places")}
    reasons, changes = [], []
    for place, heard in enumerate(plan.hear()):
        raise_if_stopped()
        reason = heard.reason
        if heard.audio is not None:
            try:
                rms = rms_dbfs(heard.audio)
                values = (sketch(heard.audio, plan.form.sample_rate) - np.float32(rms), rms, heard.patch, place)
                for name, value in zip(drawn, values, strict=True):
                    drawn[name].append(value)
            except SynthcoreError as error:
                reason = str(error)
        reasons.append(reason)
        changes.append(", ".join(heard.changes))
        progress.publish(progress.Progress(1, None))
    with atomic_path(data_dir / plan.name) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            levels=np.array(drawn["levels"], np.float32).reshape(-1, LEVELS),
            rms_dbfs=np.array(drawn["rms_dbfs"], np.float32),
            patches=np.array(drawn["patches"], np.int64),
            places=np.array(drawn["places"], np.int64),
            reasons=np.array(reasons, np.str_),
            changes=np.array(changes, np.str_),
        )
    return SketchRef(name=plan.name, checksum=file_checksum(data_dir / plan.name))


def sketch_missing(plans: Sequence[SketchPlan], data_dir: Path, workers: int) -> None:
    """Sketch what isn't in the data directory yet, some plans side by side.

    Raises
    ------
    SynthcoreError
        As `sketch_plan`.
    """
    missing = [plan for plan in plans if not (data_dir / plan.name).is_file()]
    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(lambda plan: sketch_plan(plan, data_dir), missing):
            pass


class StoredSketches(Sequence[Sketches]):
    """Sketches in the data directory, a batch to a plan, each read when it is asked for.

    Parameters
    ----------
    plans : sequence of SketchPlan
        Sketched already.
    data_dir : Path

    Attributes
    ----------
    places : ndarray, shape (n,), int
        The number of each sketch's sound, counted over all plans.
    left_out : dict of int to str
        Why other sounds have no sketch.
    changes : list of str
        What was done to each sound to compare it: "resampled, cut".
    """

    def __init__(self, plans: Sequence[SketchPlan], data_dir: Path) -> None:
        self.plans, self.data_dir = plans, data_dir
        places: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
        self.left_out: dict[int, str] = {}
        self.changes: list[str] = []
        start = 0
        for plan in plans:
            with np.load(data_dir / plan.name) as file:
                places.append(start + file["places"])
                self.left_out |= {start + i: str(why) for i, why in enumerate(file["reasons"].tolist()) if why}
                self.changes += file["changes"].tolist()
            start += plan.sounds
        self.places = np.concatenate(places)

    def whole(self) -> Sketches:
        """All of them at once: for a side that is small."""
        return take(self, np.arange(len(self.places)))

    def named(self, sketch: int) -> NamedSound:
        """Name the sound of a sketch, counted over all plans."""
        return self.name_of(int(self.places[sketch]))

    def name_of(self, sound: int) -> NamedSound:
        """Name a sound, counted over all plans."""
        plan, place = find(self.plans, sound)
        return plan.named(place).model_copy(update={"number": sound})

    def __len__(self) -> int:
        return len(self.plans)

    def __getitem__(self, index: Any) -> Any:
        with np.load(self.data_dir / self.plans[index].name) as file:
            return Sketches(file["levels"], file["rms_dbfs"], file["patches"])

"""Matches as files: each preset is the patch that was found, each audio the one that was compared; all or none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from synthcore.base.errors import DiskError, SpecError
from synthcore.evaluation.match_report import MatchReport, report
from synthcore.evaluation.matching import Match, Wanted, find, plan
from synthcore.pipeline.forms import Form
from synthcore.pipeline.sketching import StoredSketches, sketch_missing
from synthcore.pipeline.target import to_target
from synthcore.publishing.matches import TARGET, require_empty, write_answers
from synthcore.storage.dataset import Dataset
from synthcore.vital.controls import Registry
from synthcore.vital.reading import read_preset


def matched(dataset: Dataset, folder: Path) -> tuple[Match, MatchReport]:
    sound = np.random.default_rng(0).normal(0, 0.1, (2, 9_000))
    plans = plan(dataset.local_path)
    sketch_missing(plans, folder / "data", 1)
    target = to_target(sound, 22_050, Form.of(dataset))
    found = find(target, dataset, StoredSketches(plans, folder / "data"), Wanted(top=2, search=8))
    return found, report(found, dataset, "x.wav", folder / "out")


@pytest.mark.slow
def test_a_preset_is_the_patch_and_its_audio_what_was_compared(tier_3: Any, registry: Registry, tmp_path: Path) -> None:
    with Dataset(tier_3.path) as dataset:
        found, said = matched(dataset, tmp_path)
        write_answers(found, said, dataset)
    for answer, reported in zip(found.answers, said.answers, strict=True):
        again = read_preset(Path(reported.preset).read_bytes(), registry)
        assert again.patch.hash == reported.preset_hash == answer.played.patch.hash
        np.testing.assert_array_equal(soundfile.read(reported.wav, dtype="float32")[0].T, answer.played.audio)
    target = soundfile.read(tmp_path / "out" / TARGET, dtype="float32")[0].T
    np.testing.assert_array_equal(target, found.target.audio)


@pytest.mark.slow
def test_where_one_file_cannot_be_written_none_is(tier_3: Any, tmp_path: Path) -> None:
    with Dataset(tier_3.path) as dataset:
        found, said = matched(dataset, tmp_path)
        last = said.answers[-1].model_copy(update={"preset": str(tmp_path / "out" / ("x" * 300 + ".vital"))})
        broken = said.model_copy(update={"answers": (*said.answers[:-1], last)})
        with pytest.raises(DiskError):
            write_answers(found, broken, dataset)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    require_empty(tmp_path / "new" / "out")
    require_empty(tmp_path)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SpecError, match="isn't empty"):
        require_empty(tmp_path)
    with pytest.raises(SpecError, match="is a file"):
        require_empty(tmp_path / "mine.txt")
    with pytest.raises(SpecError, match="can't write in"):
        require_empty(tmp_path / "mine.txt" / "out")

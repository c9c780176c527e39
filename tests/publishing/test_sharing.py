"""Sharing: each row is published under its sources' licences, or left out with the reason."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from synthcore.base.errors import SpecError
from synthcore.publishing.licences import judge
from synthcore.publishing.sharing import FOREIGN, decide_sharing
from synthcore.storage.dataset import Dataset
from tests.publishing.conftest import STATED


@pytest.fixture
def dataset(licensed):
    with Dataset(licensed.path) as opened:
        yield opened


@pytest.mark.slow
def test_each_row_is_judged_by_all_that_it_was_made_from(dataset):
    sharing = decide_sharing(dataset, "CC0-1.0")
    files = {source.preset_hash: source.file for source in dataset.sources()}
    seen = set()
    for row, parents in enumerate(dataset.column("parents").tolist()):
        stated = [STATED[files[parent.decode()]] for parent in parents if parent]
        verdict = judge(stated) if stated else None
        assert sharing.licence(row) == (verdict.licence if verdict else "CC0-1.0")
        assert sharing.is_shared[row] == (sharing.licence(row) != "")
        seen.add((dataset.column("source", [row])[0], bool(sharing.is_shared[row])))
    assert seen >= {(b"community", True), (b"community", False), (b"variation", True), (b"variation", False)}
    assert (b"synthetic", False) not in seen


@pytest.mark.slow
def test_rows_are_counted_by_licence_and_by_reason(dataset):
    sharing = decide_sharing(dataset, "mit")
    assert sum(sharing.licences.values()) == sharing.is_shared.sum()
    assert sum(sharing.licences.values()) + sum(sharing.left_out.values()) == len(dataset)
    assert {"MIT", "CC-BY-4.0", "CC-BY-SA-4.0"} <= sharing.licences.keys()
    assert {"no licence stated", "'free for <b>all</b>' is not an SPDX licence"} <= sharing.left_out.keys()
    assert list(sharing.left_out.values()) == sorted(sharing.left_out.values(), reverse=True)


@pytest.mark.slow
def test_ones_own_rows_need_a_licence(dataset, tier_1):
    with pytest.raises(SpecError, match=r"^4 rows were drawn .* --licence CC0-1.0"):
        decide_sharing(dataset, None)
    with pytest.raises(SpecError, match="'CC' is not an SPDX licence"):
        decide_sharing(dataset, "CC")
    with Dataset(tier_1.path) as own:
        assert decide_sharing(own, "CC0-1.0").licences == {"CC0-1.0": 15}


def test_a_drawn_row_with_a_wavetable_of_a_catalog_is_left_out(tier_2, forge):
    """A catalog doesn't say what others allow."""
    path = forge(tier_2)
    with h5py.File(path, "r+") as file:
        played = file["params/wavetables"][:]
        file["schema/classes/wavetables"][played[0, 0]] = b"0" * 64
    with Dataset(path) as dataset:
        sharing = decide_sharing(dataset, "CC0-1.0")
    plays = (played == played[0, 0]).any(axis=1)
    assert plays.sum() > 0
    np.testing.assert_array_equal(sharing.is_shared, ~plays)
    assert sharing.left_out == {FOREIGN.reason: plays.sum()}

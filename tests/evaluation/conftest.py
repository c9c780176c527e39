"""What tests of evaluations share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import pytest


@pytest.fixture
def train(tier_1: Any, forge: Any) -> Path:
    """The same rows as another dataset, all of them to train with."""
    path: Path = forge(tier_1)
    with h5py.File(path, "r+") as file:
        file["metadata/split"][:] = b"train"
        file["schema"].attrs["content_digest"] = "0" * 64
    return path

"""Families and splits: what stays together when a dataset is divided, so that nothing leaks from train to test.

A patch's family is the patch without its wavetables: copies of a preset that play other wavetables stay together. The
split follows from the family's hash, so it never changes as a collection or a dataset grows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from synthcore.vital.patch import Patch

Split = Literal["train", "val", "test"]
#: Raise it when a patch gets another family, or a family another split.
VERSION = 1
#: The share of all families that each split gets.
SHARES: dict[Split, float] = {"train": 0.8, "val": 0.1, "test": 0.1}


def family_of(patch: Patch) -> str:
    """SHA-256 in hex: equal for patches that differ in wavetables alone."""
    return replace(patch, wavetables=("",) * len(patch.wavetables)).hash


def split_of(family: str) -> Split:
    """The split of a family."""
    place, passed = int(family[:13], 16) / 16**13, 0.0
    for split, share in SHARES.items():
        passed += share
        if place < passed:
            return split
    return "test"  # the shares add up to 1 but for rounding

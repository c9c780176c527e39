"""Plans: answers are scored, and searches begin at them, some at a time; what comes of it lies in the data directory.

A plan's key says by content what is compared and how, never where it lies.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from synthcore.base.errors import DatasetError
from synthcore.base.hashing import content_hash
from synthcore.engine.machine import engine
from synthcore.evaluation.answers import Answers, Origin
from synthcore.evaluation.sounds import SoundFolder
from synthcore.evaluation.targets import Targets, opened
from synthcore.vital.controls import installed


class AnswerPlan(BaseModel):
    """Some answers to rows of a dataset or to sounds of a folder. Where they are is not part of the key."""

    model_config = ConfigDict(frozen=True)

    index: int
    key: str  # SHA-256 in hex of what is compared, and how; names the file and the cache entry
    content: str  # SHA-256 in hex of what is compared
    against: str
    origin: Origin
    rows: tuple[int, ...]
    places: tuple[int, ...]  # of the answers, in the file of the origin
    folder: SoundFolder | None = None  # these sounds, if they are not rows of a dataset

    @property
    def sounds(self) -> int:
        """How many answers there are."""
        return len(self.rows)

    @property
    def name(self) -> str:
        """Where what comes of it lies, relative to the data directory."""
        return f"scores/{self.key[:2]}/{self.key}.npz"

    @classmethod
    def cut(cls, answers: Answers, targets: Targets, size: int, key_parts: Sequence[Any], **others: Any) -> list[Self]:
        """Cut answers into plans.

        Parameters
        ----------
        answers : Answers
        targets : Targets
            What they answer.
        size : int
            Answers to a plan.
        key_parts : sequence
            What the results depend on besides what is compared.
        **others
            What a plan holds besides.
        """
        hashes = answers.origin.hashes(answers.places)
        plans: list[Self] = []
        for start in range(0, len(answers.rows), size):
            rows, places = (part[start : start + size] for part in (answers.rows, answers.places))
            content = _content_of(targets, rows, hashes[start : start + size])
            plans.append(
                cls(
                    index=len(plans),
                    key=content_hash([*key_parts, content]),
                    content=content_hash(content),
                    against=targets.path,
                    origin=answers.origin,
                    rows=rows,
                    places=places,
                    folder=targets.only(rows) if isinstance(targets, SoundFolder) else None,
                    **others,
                )
            )
        return plans

    @contextlib.contextmanager
    def opened(self) -> Iterator[Targets]:
        """What is answered, once it is known that it and the answers are those that were planned.

        Raises
        ------
        DatasetError
            They have been replaced since, or are gone or damaged.
        """
        with opened(self.against, self.folder) as targets:
            if not self._is_same(targets):
                places = " or ".join(dict.fromkeys([self.against, self.origin.file]))
                raise DatasetError(f"{places} has been replaced meanwhile; run the same command again")
            yield targets

    def _is_same(self, targets: Targets) -> bool:
        try:
            found = _content_of(targets, self.rows, self.origin.hashes(self.places))
        except IndexError:  # of so many rows or answers
            return False
        return content_hash(found) == self.content


def surroundings_of(targets: Targets) -> list[Any]:
    """What any render depends on besides the patch and how it is played, for a key."""
    return [engine().fingerprint, installed().fingerprint, targets.audio.model_dump(mode="json")]


def _content_of(targets: Targets, rows: Sequence[int], patches: Sequence[str]) -> list[list[Any]]:
    """What is compared: of each answer its target, how it is played, and the hash of its patch."""
    each = zip(targets.content(rows), targets.performances(rows), patches, strict=True)
    return [[*known, asdict(played), patch] for known, played, patch in each]

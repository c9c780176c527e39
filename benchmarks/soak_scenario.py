"""What a round of the soak makes, drawn from its seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.soak_disturbances import HINDRANCES

AUDIO = {"sample_rate": 22050, "note_seconds": 0.25, "render_seconds": 0.4}


@dataclass(frozen=True)
class Scenario:
    """What a round makes, and how often it is disturbed."""

    seed: int
    tier: int
    rows: int
    notes: tuple[int, ...]
    rows_per_shard: int
    variations: int
    presets: bool
    merge: str
    chunk_rows: int
    runner: str
    workers: int
    weights: int
    endings: tuple[str, ...]
    hindrance: str

    @classmethod
    def of(cls, seed: int) -> Scenario:
        """Draw the scenario of a round."""
        chance = random.Random(seed)
        presets = chance.random() < 0.3
        merge = chance.choice(["copy", "copy", "virtual"])
        return cls(
            seed=seed,
            tier=chance.choice([1, 2, 3]),
            rows=chance.randrange(12, 61),
            notes=tuple(sorted(chance.sample([36, 48, 60, 72], chance.choice([1, 2, 3])))),
            rows_per_shard=chance.choice([3, 6, 12, 24]),
            variations=chance.choice([0, 4, 8]) if presets else 0,
            presets=presets,
            merge=merge,
            chunk_rows=chance.choice([1, 1, 8]) if merge == "copy" else 1,
            runner=chance.choice(["threads", "threads", "threads", "dask"]),
            workers=chance.choice([1, 2]),
            weights=chance.choice([0] * 9 + [1]),
            endings=tuple(chance.choices(["SIGKILL", "SIGINT", "SIGTERM", "server"], k=chance.choice([0, 1, 2]))),
            hindrance=chance.choice([*HINDRANCES, *[""] * len(HINDRANCES)]),
        )

    def parameters(self, presets: Path, data: Path, output: Path) -> dict[str, Any]:
        """The flow's parameters, as Python passes them."""
        how = {"rows_per_shard": self.rows_per_shard, "merge": self.merge, "chunk_rows": self.chunk_rows}
        return {
            "tier": self.tier,
            "n_samples": self.rows,
            "seed": self.seed,
            "workers": 2,
            "variations": self.variations,
            "community_dir": [str(presets)] if self.presets else [],
            "weights": self.weights,
            "audio": {**AUDIO, "notes": self.notes},
            "run": how,
            "data_dir": str(data),
            "output": str(output),
        }

    def flags(self, presets: Path) -> list[str]:
        """The same, as flags of the command line."""
        flags: list[object] = ["--tier", self.tier, "-n", self.rows, "--seed", self.seed, "--workers", self.workers]
        flags += [word for note in self.notes for word in ("--notes", note)]
        flags += [word for name, value in AUDIO.items() for word in (f"--{name.replace('_', '-')}", value)]
        flags += ["--rows-per-shard", self.rows_per_shard, "--merge", self.merge, "--chunk-rows", self.chunk_rows]
        flags += ["--community-dir", presets, "--variations", self.variations] if self.presets else []
        flags += ["--weights", self.weights] if self.weights else []
        return [str(flag) for flag in [*flags, "--runner", self.runner, "-o", "out.h5", "--data-dir", "data"]]

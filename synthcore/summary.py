"""The summary of a run: what was made, from what, how it went, and what to do next."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from synthcore.engine.faults import REASONS
from synthcore.spec import DatasetSpec
from synthcore.storage.merge import DatasetRef, ShardRef


class Summary(BaseModel):
    """What `generate` made, in numbers."""

    model_config = ConfigDict(frozen=True)

    output: str
    digest: str
    rows: int
    bytes: int
    spec: DatasetSpec
    shards: int
    shards_cached: int
    candidates: int
    faults: dict[str, int]
    seconds: float  # wall clock, from the first shard's start to the output's name
    synth_cpu_seconds: float  # inside the synth's render: kept, refused and settling renders
    data_dir: str

    @classmethod
    def of(
        cls,
        spec: DatasetSpec,
        dataset: DatasetRef,
        shards: Sequence[ShardRef],
        *,
        cached: int,
        seconds: float,
        data_dir: Path,
    ) -> Summary:
        """Add up a run's shards, cached ones included."""
        faults: Counter[str] = Counter()
        for shard in shards:
            faults.update(shard.faults)
        return cls(
            output=dataset.path,
            digest=dataset.digest,
            rows=dataset.rows,
            bytes=dataset.size,
            spec=spec,
            shards=len(shards),
            shards_cached=cached,
            candidates=sum(s.candidates for s in shards),
            faults=dict(sorted(faults.items())),
            seconds=round(seconds, 3),
            synth_cpu_seconds=round(sum(s.synth_cpu_seconds for s in shards), 3),
            data_dir=str(data_dir),
        )

    @property
    def acceptance(self) -> float:
        """Share of the candidate patches that were kept."""
        return 1 - sum(self.faults.values()) / self.candidates

    @property
    def headline(self) -> str:
        return f"{self.rows} rows of tier {self.spec.tier} in {Path(self.output).name}"

    @property
    def what_was_rendered(self) -> str:
        """Say how much of the run was there already."""
        if self.shards_cached == self.shards:
            return f"nothing rendered: all {self.shards} shards were cached"
        return f"{self.shards - self.shards_cached} of {self.shards} shards rendered, {self.shards_cached} cached"

    def to_text(self) -> str:
        """Say what was made and what to do next, for a terminal."""
        refused = ", ".join(f"{reason} {count}" for reason, count in self.faults.items()) or "none"
        # Not everyone has activated the virtual environment.
        command = "synthcore" if shutil.which("synthcore") else _short(Path(sys.executable).with_name("synthcore"))
        output = _short(Path(self.output))
        return f"""
{self.headline}: {self.what_was_rendered}, in {self.seconds:.1f} s
  file      {output} ({self.bytes / 1e6:.1f} MB)
  digest    {self.digest}
  accepted  {self.acceptance:.1%} of {self.candidates} candidate patches, in all shards; refused: {refused}

next:
  {command} inspect {shlex.quote(output)}
  {command} verify {shlex.quote(output)}
"""

    def to_markdown(self) -> str:
        """Write the page for Prefect's UI."""
        faults = "".join(f"| {r} | {n} | {REASONS[r]} |\n" for r, n in self.faults.items()) or "| none | 0 | |\n"
        return f"""# {self.headline}

{self.what_was_rendered}, in {self.seconds:.1f} s.

| | |
| --- | --- |
| file | `{self.output}` |
| size | {self.bytes / 1e6:.1f} MB |
| digest | `{self.digest}` |
| accepted | {self.acceptance:.1%} of {self.candidates} candidates |

## Refused candidates

| reason | candidates | meaning |
| --- | --- | --- |
{faults}
## Next

```
synthcore inspect {self.output}
synthcore verify {self.output}
```

```python
from synthcore import Dataset

with Dataset("{self.output}") as dataset:
    row = dataset[0]
```

## Spec

```json
{self.spec.model_dump_json(indent=2)}
```
"""


def _short(path: Path) -> str:
    """Write a path the way one would type it here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)

"""Whether memory is constant in the number of rows: peak RSS of merging, and of the whole flow process.

Rows are of the default format: what keeps small ones may not keep large ones, and the other way round.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Measure, run_python

FEW, MANY = 200, 2000
# Peak RSS is read inside each process: a parent only learns the largest of all its children.
FLOW = """
import json, resource, sys
from pathlib import Path
from flows import environment
environment.prepare()
from flows.generate import generate
folder = Path(sys.argv[2])
generate(n_samples=int(sys.argv[1]), output=folder / "out.h5", data_dir=folder / "data")
print(json.dumps({"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))
"""
MERGE = """
import json, resource, sys
from pathlib import Path
from synthcore.controls import installed
from synthcore.engine.machine import engine
from synthcore.shard import plan_shards
from synthcore.spec import DatasetSpec
from synthcore.storage.merge import ShardRef, merge_shards
from synthcore.storage.writer import file_checksum
folder, rows = Path(sys.argv[2]), int(sys.argv[1])
spec = DatasetSpec(n_samples=rows)
shards = []
for plan in plan_shards(spec, 192):
    path = folder / "data" / plan.name
    known = dict(name=plan.name, size=path.stat().st_size, checksum=file_checksum(path), rows=plan.rows)
    shards.append(ShardRef(**known, digest="", candidates=0, faults={}, seconds=0, synth_cpu_seconds=0))
merge_shards(shards, folder / "merged.h5", data_dir=folder / "data", spec=spec, registry=installed(), engine=engine())
print(json.dumps({"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))
"""


def run(folder: Path) -> Iterator[Measure]:
    """Compare few rows with many."""
    for name, script in (("flow", FLOW), ("merge", MERGE)):
        few, many = (run_python("-c", script, str(rows), str(folder)).report["peak"] for rows in (FEW, MANY))
        yield Measure(f"peak memory of the {name}, {MANY} rows against {FEW}", many / few, 1.10, at_least=False)
        yield Measure(f"peak memory of the {name} at {MANY} rows", many / 1e3, unit="MB")

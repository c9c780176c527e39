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
from synthcore.flows.running import environment
environment.prepare()
from synthcore.flows.generate import generate
folder = Path(sys.argv[2])
generate(n_samples=int(sys.argv[1]), output=folder / "out.h5", data_dir=folder / "data")
print(json.dumps({"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))
"""
MERGE = """
import json, resource, sys
from pathlib import Path
from benchmarks.storage import known_shards
from synthcore.vital.controls import installed
from synthcore.engine.machine import engine
from synthcore.storage.dataset import Dataset
from synthcore.pipeline import library
from synthcore.storage.merge import merge_shards
folder, rows = Path(sys.argv[2]), int(sys.argv[1])
data = folder / "data"
with Dataset(folder / "out.h5") as made:
    spec = made.spec.model_copy(update={"n_samples": rows})
shards = known_shards(spec, data, 192)
merge_shards(shards, folder / "merged.h5", library.merge_context(spec, data))
print(json.dumps({"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))
"""


def run(folder: Path) -> Iterator[Measure]:
    """Compare few rows with many."""
    for name, script in (("flow", FLOW), ("merge", MERGE)):
        few, many = (run_python("-c", script, str(rows), str(folder)).report["peak"] for rows in (FEW, MANY))
        yield Measure(f"peak memory of the {name}, {MANY} rows against {FEW}", many / few, 1.10, at_least=False)
        yield Measure(f"peak memory of the {name} at {MANY} rows", many / 1e3, unit="MB")

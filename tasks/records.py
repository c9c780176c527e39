"""What Prefect remembers of tasks that ran with a data directory: the records of their results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect.filesystems import LocalFileSystem
from prefect.results import ResultStore
from prefect.serializers import JSONSerializer

from synthcore.cache import Records
from synthcore.importance import ProbeRef
from synthcore.presets.report import Ingested
from synthcore.storage.merge import DatasetRef, ShardRef


def read_records(data_dir: Path, results_dir: Path) -> Records:
    """Read every record of the tasks whose results are files."""
    shards: dict[str, ShardRef] = {}
    datasets: dict[str, DatasetRef] = {}
    collections: set[str] = set()
    probes: set[str] = set()
    unreadable: list[str] = []
    # Told to read JSON, which all our records are, it doesn't try to unpickle what is none.
    store = ResultStore(result_storage=LocalFileSystem(basepath=str(results_dir)), serializer=JSONSerializer())
    for path in sorted(results_dir.glob("*")) if results_dir.is_dir() else ():
        file = path.relative_to(data_dir).as_posix()
        try:
            result: Any = store.read(path.name).result
        except (OSError, ValueError):  # pydantic's errors and JSON's are ValueErrors
            unreadable.append(file)
            continue
        if isinstance(result, ShardRef):
            shards[file] = result
        elif isinstance(result, DatasetRef):
            datasets[file] = result
        elif isinstance(result, Ingested):
            collections.add(result.collection)
        elif isinstance(result, ProbeRef):
            probes.add(result.name)
    return Records(shards, datasets, tuple(unreadable), frozenset(collections), frozenset(probes))

"""What Prefect remembers of tasks that ran with a data directory: the records of their results.

A record names what is to read it, and Prefect obeys: one that says `pickle` is unpickled, and of one that says `json`
every `__class__` is imported and called, `subprocess.getoutput` as well. A data directory may come from a stranger. So
nothing of a record reaches Prefect unless it is such as our own tasks write.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect.context import TaskRunContext
from prefect.filesystems import LocalFileSystem
from prefect.results import ResultStore
from prefect.serializers import JSONSerializer
from prefect.utilities.importtools import to_qualified_name

from synthcore.analysis.importance import ProbeRef
from synthcore.base.atomic import atomic_path
from synthcore.ingest.download import DownloadResult
from synthcore.ingest.report import IngestResult
from synthcore.ingest.wavetables import CatalogRef
from synthcore.pipeline.cache import Records
from synthcore.storage.refs import DatasetRef, ShardRef

log = logging.getLogger(__name__)

CacheKey = Callable[[Any, dict[str, Any]], str | None]

#: All that a task may return and keep, besides plain text: models that hold text and numbers, and do nothing.
RESULTS = (ShardRef, DatasetRef, IngestResult, ProbeRef, CatalogRef, DownloadResult)
_NAMES = {to_qualified_name(model) for model in RESULTS}
#: What results were called when their modules lay elsewhere: what was cached then is cached still.
FORMER_NAMES = {
    "synthcore.storage.merge.ShardRef": ShardRef,
    "synthcore.storage.merge.DatasetRef": DatasetRef,
    "synthcore.presets.report.Ingested": IngestResult,
    "synthcore.importance.ProbeRef": ProbeRef,
    "synthcore.wavetables.discovery.CatalogRef": CatalogRef,
    "synthcore.presets.download.Downloaded": DownloadResult,
}
_FORMER_NAME = re.compile("|".join(rf'(?<=\\"__class__\\": \\"){re.escape(name)}(?=\\")' for name in FORMER_NAMES))
_SERIALIZER = JSONSerializer().model_dump(mode="json")
LARGEST_RECORD = 1 << 26  #: bytes; a picture takes 100 kB, a report of 100,000 presets 20 MB


def guarded(key_of: CacheKey) -> CacheKey:
    """Make a cache key under which Prefect finds nothing but a record of ours: any other is removed, and so a miss."""

    @functools.wraps(key_of)
    def guard(context: Any, parameters: dict[str, Any]) -> str | None:
        key = key_of(context, parameters)
        folder = context.task.result_storage if isinstance(context, TaskRunContext) else None
        if key and isinstance(folder, Path) and os.path.lexists(path := folder / key):
            rename_results(path)
            if not is_ours(path):
                log.warning("%s is not a record of ours, and removed unread", path)
                path.unlink()
        return key

    return guard


def rename_results(path: Path) -> None:
    """Call the results in a record what they are called now."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST_RECORD:
        return
    text = path.read_text(errors="replace")
    renamed = _FORMER_NAME.sub(lambda found: to_qualified_name(FORMER_NAMES[found[0]]), text)
    if renamed != text:
        with atomic_path(path) as temporary:
            temporary.write_text(renamed)


def is_ours(path: Path) -> bool:
    """Whether a record is such as our tasks write, so that Prefect may read it."""
    return _holds(path, _is_harmless)


def is_failure(path: Path) -> bool:
    """Whether a record holds the error with which a task failed or was stopped. Nothing ever reads it again."""
    return _holds(path, lambda result: "__exc_type__" in json.loads(result))


def _holds(path: Path, test: Callable[[str], bool]) -> bool:
    """Whether a record has the form of ours, and its result stands the test; one that can't be read doesn't."""
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST_RECORD:
            return False
        record = json.loads(path.read_bytes(), object_pairs_hook=_unambiguous)
        if record.keys() != {"metadata", "result"} or record["metadata"]["serializer"] != _SERIALIZER:
            return False
        return test(record["result"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return False


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that is said twice: Prefect's parser need not choose the one that this one does."""
    said = dict(pairs)
    if len(said) < len(pairs):
        raise ValueError("a key is said twice")
    return said


def _is_harmless(result: str) -> bool:
    json.loads(result, object_hook=_harmless)  # refuses what isn't
    return True


def _harmless(value: dict[str, Any]) -> dict[str, Any]:
    """Refuse what would make Prefect call anything but one of our models."""
    if "__exc_type__" in value or ("__class__" in value and value["__class__"] not in _NAMES):
        raise ValueError("it names a class that is none of our results")
    return value


def read_records(data_dir: Path, results_dir: Path) -> Records:
    """Read every record of the tasks whose results are files, and tell those of failures apart."""
    shards: dict[str, ShardRef] = {}
    datasets: dict[str, DatasetRef] = {}
    collections: set[str] = set()
    probes: set[str] = set()
    unreadable: list[str] = []
    failures: list[str] = []
    store = ResultStore(result_storage=LocalFileSystem(basepath=str(results_dir)), serializer=JSONSerializer())
    for path in sorted(results_dir.glob("*")) if results_dir.is_dir() else ():
        file = path.relative_to(data_dir).as_posix()
        rename_results(path)
        if not is_ours(path):
            (failures if is_failure(path) else unreadable).append(file)
            continue
        try:
            result: Any = store.read(path.name).result
        except (OSError, ValueError):  # pydantic's errors and JSON's are ValueErrors
            unreadable.append(file)
            continue
        if isinstance(result, ShardRef):
            shards[file] = result
        elif isinstance(result, DatasetRef):
            datasets[file] = result
        elif isinstance(result, IngestResult):
            collections.add(result.collection)
        elif isinstance(result, ProbeRef):
            probes.add(result.name)
    return Records(shards, datasets, tuple(unreadable), frozenset(collections), frozenset(probes), tuple(failures))

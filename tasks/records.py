"""The records in which Prefect keeps the results of tasks, in a data directory.

A record names what is to read it, and Prefect obeys: one that says `pickle` is unpickled, and in one that says `json`
every `__class__` is imported and called, `subprocess.getoutput` included. A data directory may come from a stranger.
So no record reaches Prefect unless it has the form that our own tasks write.
"""

from __future__ import annotations

import functools
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect.context import TaskRunContext
from prefect.filesystems import LocalFileSystem
from prefect.results import ResultStore
from prefect.serializers import JSONSerializer
from prefect.utilities.importtools import to_qualified_name
from pydantic import BaseModel

from synthcore.analysis.importance import ProbeRef
from synthcore.base.atomic import atomic_path
from synthcore.evaluation.scoring import ScoreRef
from synthcore.ingest.download import DownloadResult
from synthcore.ingest.report import IngestResult
from synthcore.ingest.wavetables import CatalogRef
from synthcore.pipeline.cache import Records
from synthcore.pipeline.features import FeatureRef
from synthcore.pipeline.nearness_report import Nearness
from synthcore.pipeline.sketching import SketchRef
from synthcore.publishing.planning import FileRef
from synthcore.storage import part_records
from synthcore.storage.refs import DatasetRef, ShardRef

log = logging.getLogger(__name__)

CacheKey = Callable[[Any, dict[str, Any]], str | None]

#: All that a task may return and keep, besides plain text: models that hold text and numbers, and do nothing.
RESULTS = (
    *(ShardRef, DatasetRef, IngestResult, CatalogRef, DownloadResult, Nearness),
    *(ProbeRef, SketchRef, FeatureRef, ScoreRef, FileRef),
)
_NAMES = {to_qualified_name(model) for model in RESULTS}
#: The names that results had while their modules lay elsewhere: what was cached under them stays cached.
FORMER_NAMES: dict[str, type[BaseModel]] = {
    "synthcore.storage.merge.ShardRef": ShardRef,
    "synthcore.storage.merge.DatasetRef": DatasetRef,
    "synthcore.presets.report.Ingested": IngestResult,
    "synthcore.importance.ProbeRef": ProbeRef,
    "synthcore.wavetables.discovery.CatalogRef": CatalogRef,
    "synthcore.presets.download.Downloaded": DownloadResult,
}
_SERIALIZER = JSONSerializer().model_dump(mode="json")
LARGEST_RECORD = 1 << 26  #: bytes; a picture takes 100 kB, a report of 100,000 presets 20 MB
#: What reading a record that isn't ours may raise.
_MALFORMED = (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError)


def guarded(key_of: CacheKey) -> CacheKey:
    """Make a cache key under which Prefect finds only a record of ours: any other is removed, which makes it a miss."""

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
    """Give the results in a record the present names of their classes."""
    try:
        text = _text_of(path)
        if not any(name in text for name in FORMER_NAMES):
            return
        record = json.loads(text, object_pairs_hook=_unambiguous)
        record["result"] = json.dumps(json.loads(record["result"], object_hook=_under_present_name))
    except _MALFORMED:  # then it isn't ours, and is_ours says so
        return
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(record))


def is_ours(path: Path) -> bool:
    """Whether a record has the form that our tasks write, so that Prefect may read it."""
    return _holds(path, lambda result: json.loads(result, object_hook=_refuse_foreign_class))


def is_failure(path: Path) -> bool:
    """Whether a record holds the error with which a task failed or was stopped. It is never read again."""
    return _holds(path, lambda result: json.loads(result)["__exc_type__"])


def _holds(path: Path, read: Callable[[str], object]) -> bool:
    """Whether a record has the form of ours, and its result can be read by `read`."""
    try:
        record = json.loads(_text_of(path), object_pairs_hook=_unambiguous)
        if record.keys() != {"metadata", "result"} or record["metadata"]["serializer"] != _SERIALIZER:
            return False
        read(record["result"])
    except _MALFORMED:
        return False
    return True


def _text_of(path: Path) -> str:
    """Read a record.

    Raises
    ------
    ValueError
        It isn't a file of its own, or too large, or not UTF-8.
    """
    if path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST_RECORD:
        raise ValueError("not a record of ours")
    return path.read_text(encoding="utf-8")


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object with a key twice: Prefect's parser may choose another value than this one."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a key appears twice")
    return fields


def _refuse_foreign_class(value: dict[str, Any]) -> dict[str, Any]:
    """Refuse what would make Prefect call anything but one of our models."""
    if "__exc_type__" in value or ("__class__" in value and value["__class__"] not in _NAMES):
        raise ValueError("it names a class that isn't one of our results")
    return value


def _under_present_name(value: dict[str, Any]) -> dict[str, Any]:
    """Rename the class of a result whose module has moved."""
    model = FORMER_NAMES.get(value.get("__class__", ""))
    return {**value, "__class__": to_qualified_name(model)} if model else value


def read_records(data_dir: Path, results_dir: Path) -> Records:
    """Read every record of the tasks whose results are files, and those of parts; list those of failures apart."""
    results: dict[str, Any] = {}  # by record
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
            results[file] = store.read(path.name).result
        except (OSError, ValueError):  # pydantic's errors and JSON's are ValueErrors
            unreadable.append(file)
    for path in sorted((data_dir / part_records.FOLDER).glob("*.json")):
        file = path.relative_to(data_dir).as_posix()
        if ref := part_records.read(path):
            results[file] = ref
        else:
            unreadable.append(file)

    def files_of(kind: type[ProbeRef | SketchRef | FeatureRef | ScoreRef | FileRef]) -> frozenset[str]:
        return frozenset(result.name for result in results.values() if isinstance(result, kind))

    return Records(
        {file: result for file, result in results.items() if isinstance(result, ShardRef)},
        {file: result for file, result in results.items() if isinstance(result, DatasetRef)},
        unreadable=tuple(unreadable),
        collections=frozenset(r.collection for r in results.values() if isinstance(r, IngestResult)),
        probes=files_of(ProbeRef),
        sketches=files_of(SketchRef),
        features=files_of(FeatureRef),
        scores=files_of(ScoreRef),
        published=files_of(FileRef),
        failures=tuple(failures),
    )

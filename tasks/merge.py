"""Merging shards, as a task."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from prefect import task

from synthcore.base.hashing import canonical_json
from synthcore.engine.machine import engine
from synthcore.pipeline import library
from synthcore.sources import splits as families
from synthcore.spec import DatasetSpec
from synthcore.storage import MergeMode, merge
from synthcore.storage.refs import DatasetRef, Gap, ShardRef
from synthcore.tasks.records import guarded
from synthcore.vital import activity


@guarded
def merge_key(_: Any, parameters: dict[str, Any]) -> str:
    """Fingerprint of what goes into the file, how, and where the file lies."""
    shards = [[ref.name, ref.digest] for ref in parameters["shards"]]
    # A view of the shards says where they lie.
    referred = str(parameters["data_dir"]) if parameters["mode"] == "virtual" else ""
    how = [str(parameters["output"]), parameters["mode"], parameters["chunk_rows"], referred]
    spec = parameters["spec"]
    rules = [activity.activity_rules().digest, families.VERSION]  # by which columns are made when merging
    made_of = canonical_json([shards, how, spec.fingerprint, spec.n_samples, engine().fingerprint, rules])
    return f"merge-{hashlib.sha256(made_of.encode()).hexdigest()}"


@task(
    name="merge_shards",
    task_run_name="merge {spec.n_samples} rows",
    cache_key_fn=merge_key,
    persist_result=True,
    result_serializer="json",
)
def merge_shards(
    shards: list[ShardRef],
    output: Path,
    data_dir: Path,
    spec: DatasetSpec,
    mode: MergeMode,
    chunk_rows: int,
    gaps: list[Gap],
) -> DatasetRef:
    """Join shards into the file the user named, or find it there already."""
    context = library.merge_context(spec, data_dir)
    return merge.merge_shards(shards, output, context, mode=mode, chunk_rows=chunk_rows, gaps=gaps)

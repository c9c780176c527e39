"""Merging shards, as a task."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from prefect import task

from synthcore.base.hashing import content_hash
from synthcore.engine.machine import engine
from synthcore.pipeline import library
from synthcore.sources import splits as families
from synthcore.spec import DatasetSpec
from synthcore.storage import MergeMode, merge
from synthcore.storage.refs import DatasetRef, Gap, ShardRef
from synthcore.tasks.records import guarded
from synthcore.vital import activity


class Layout(NamedTuple):
    """How rows lie in the merged file."""

    mode: MergeMode
    chunk_rows: int  #: of a chunk of audio


@guarded
def merge_key(_: Any, parameters: dict[str, Any]) -> str:
    """The hash of what goes into the file, how, and of where the file lies."""
    shards = [[ref.name, ref.digest] for ref in parameters["shards"]]
    # A virtual dataset refers to its shards by path.
    layout = parameters["layout"]
    referred = str(parameters["data_dir"]) if layout.mode == "virtual" else ""
    how = [str(parameters["output"]), layout.mode, layout.chunk_rows, referred]
    spec = parameters["spec"]
    rules = [activity.activity_rules().digest, families.VERSION]  # by which merging derives columns
    key_parts = [shards, how, spec.fingerprint, spec.n_samples, engine().fingerprint, rules]
    return f"merge-{content_hash(key_parts)}"


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
    layout: Layout,
    gaps: list[Gap],
) -> DatasetRef:
    """Join shards into the file the user named."""
    context = library.merge_context(spec, data_dir)
    return merge.merge_shards(shards, output, context, mode=layout.mode, chunk_rows=layout.chunk_rows, gaps=gaps)

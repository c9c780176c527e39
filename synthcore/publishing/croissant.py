"""Croissant: a publication described in the format of MLCommons, for tools and for search engines of datasets.

The description is JSON-LD: https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from synthcore.publishing.columns import AUDIO, TEXT, PublishedColumn
from synthcore.publishing.licences import TEXT as LICENCE_TEXT
from synthcore.publishing.licences import ids_of
from synthcore.publishing.publication import Publication, PublishedFile

VERSION = "http://mlcommons.org/croissant/1.1"
PARQUET, TAR = "application/x-parquet", "application/x-tar"
ROWS, SPLITS = "rows", "splits"  #: the record sets
FILES = "row-files"
_TYPES = {
    TEXT: "sc:Text",
    AUDIO: "sc:AudioObject",
    "bool": "sc:Boolean",
    "int32": "cr:Int32",
    "int64": "cr:Int64",
    "float32": "cr:Float32",
    "float64": "cr:Float64",
}
_OF_CROISSANT = (
    *("arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract", "field", "fileObject"),
    *("fileProperty", "fileSet", "format", "includes", "isArray", "isLiveDataset", "jsonPath", "key", "md5"),
    *("parentField", "path", "recordSet", "references", "regex", "repeated", "replace", "samplingRate", "separator"),
    *("source", "subField", "transform"),
)
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "name": {"@container": "@language"},
    "description": {"@container": "@language"},
    **{name: f"cr:{name}" for name in _OF_CROISSANT},
}


def croissant(
    publication: Publication,
    columns: Sequence[PublishedColumn],
    licences: Sequence[str],
    description: str,
    citation: str,
) -> str:
    """Describe a publication as a Croissant document.

    Parameters
    ----------
    publication : Publication
    columns : sequence of PublishedColumn
        Of its rows.
    licences : sequence of str
        Those of its rows, as SPDX expressions.
    description, citation : str
        What it is in words; how to cite it, in BibTeX.
    """
    names = dict.fromkeys(name for licence in licences for name in ids_of(licence))
    read = _read_parquet if publication.format == "parquet" else _read_tar
    sets, rows = read(publication, columns)
    document = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": VERSION,
        "name": publication.name,
        "description": description,
        "license": [LICENCE_TEXT.format(id=name) for name in names],
        "citeAs": citation,
        "datePublished": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "version": f"1.0.0+{publication.digest[:12]}",
        "keywords": ["audio", "synthesizer", "inverse synthesis", "sound matching", "Vital"],
        "distribution": [*map(_file, publication.files), *sets],
        "recordSet": [_splits(publication), *rows],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _file(file: PublishedFile) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": file.path,
        "name": PurePosixPath(file.path).name,
        "contentUrl": file.path,
        "contentSize": f"{file.bytes} B",
        "encodingFormat": TAR if file.path.endswith(".tar") else PARQUET,
        "sha256": file.sha256,
    }


def _splits(publication: Publication) -> dict[str, Any]:
    key = f"{SPLITS}/name"
    return {
        "@type": "cr:RecordSet",
        "@id": SPLITS,
        "name": SPLITS,
        "dataType": "cr:Split",
        "key": {"@id": key},
        "field": [{"@type": "cr:Field", "@id": key, "name": "name", "dataType": "sc:Text"}],
        "data": [{key: split} for split in publication.row_files],
    }


def _record_set(name: str, fields: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "key": {"@id": f"{name}/row"}, "field": [*fields]}


def _field(rows: str, column: PublishedColumn, source: dict[str, Any]) -> dict[str, Any]:
    field: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"{rows}/{column.name}",
        "name": column.name,
        "description": column.text,
        "dataType": _TYPES[column.dtype],
        "source": source,
    }
    if column.shape:
        field |= {"isArray": True, "arrayShape": ",".join(map(str, column.shape))}
    return field


def _read_parquet(
    publication: Publication, columns: Sequence[PublishedColumn]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    files = {
        "@type": "cr:FileSet",
        "@id": FILES,
        "name": FILES,
        "encodingFormat": PARQUET,
        "includes": "data/*.parquet",
    }
    fields = []
    for column in columns:
        source: dict[str, Any] = {"fileSet": {"@id": FILES}, "extract": {"column": column.name}}
        if column.dtype == AUDIO:
            source |= {"transform": {"jsonPath": "bytes"}, "samplingRate": publication.spec["audio"]["sample_rate"]}
        fields.append(_field(ROWS, column, source))
    return [files], [_record_set(ROWS, fields)]


def _read_tar(
    publication: Publication, columns: Sequence[PublishedColumn]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Labels are in a JSON file of each row, and audio in one of its own: a set of records each."""
    inside = [{"@id": file.path} for files in publication.row_files.values() for file in files]
    kinds = {"json": "application/json"}
    if publication.audio:
        kinds[publication.audio] = f"audio/{publication.audio}"
    sets = [
        {
            "@type": "cr:FileSet",
            "@id": f"{kind}-files",
            "name": f"{kind}-files",
            "containedIn": inside,
            "encodingFormat": encoding,
            "includes": f"*.{kind}",
        }
        for kind, encoding in kinds.items()
    ]
    labels = [
        _field(ROWS, column, {"fileSet": {"@id": "json-files"}, "extract": {"jsonPath": column.name}})
        for column in columns
        if column.dtype != AUDIO
    ]
    return sets, [_record_set(ROWS, labels)]

"""Importing: what a folder holds is compared with what it says, down to each asset."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from synthcore.base.errors import DatasetError
from synthcore.publishing.importing import import_publication
from synthcore.publishing.publication import ASSETS, MANIFEST


@pytest.mark.slow
def test_an_asset_that_is_not_what_its_hash_says_is_refused(published, tmp_path):
    """Even if whoever changed it has brought the hashes of files up to date."""
    folder = Path(shutil.copytree(published["parquet"], tmp_path / "copy"))
    table = pq.read_table(folder / ASSETS)
    contents = table["content"].to_pylist()
    place = next(place for place, content in enumerate(contents) if content)
    contents[place] += b" "
    (folder / ASSETS).unlink()
    pq.write_table(table.set_column(table.column_names.index("content"), "content", [contents]), folder / ASSETS)
    said = json.loads((folder / MANIFEST).read_text())
    for file in said["files"]:
        if file["path"] == ASSETS:
            file["bytes"] = (folder / ASSETS).stat().st_size
            file["sha256"] = hashlib.sha256((folder / ASSETS).read_bytes()).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(said))
    with pytest.raises(DatasetError, match="an asset is not what its SHA-256 says"):
        import_publication(folder, tmp_path / "again.h5", workers=2)
    assert not (tmp_path / "again.h5").exists()

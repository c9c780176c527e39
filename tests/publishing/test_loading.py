"""The code of the publishing page, on what is published: it loads with the tools of others as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from synthcore.storage import PublishedFormat

PAGE = Path(__file__).parents[2] / "docs" / "publishing.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
IMPORTS = {
    "datasets": "import datasets\n",
    "webdataset": "import soundfile, webdataset\n",
    "synthcore": "from synthcore import collate, read_sample\n",
}
CODE = {tool: block for tool, line in IMPORTS.items() for block in BLOCKS if line in block}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tool", "form"), [("datasets", "parquet"), ("webdataset", "webdataset"), ("synthcore", "webdataset")]
)
@pytest.mark.filterwarnings("ignore")  # of other people's tools
def test_the_code_of_the_page_loads_a_publication(
    tool: str,
    form: PublishedFormat,
    published: dict[PublishedFormat, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if tool == "synthcore":
        pytest.importorskip("torch")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "out").symlink_to(published[form])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    names: dict[str, Any] = {}
    exec(compile(CODE[tool], PAGE.name, "exec"), names)
    if tool == "datasets":
        assert names["files"][0]["audio"]["bytes"].startswith(b"fLaC")
    elif tool == "synthcore":
        assert names["batch"]["audio"].shape[1] == 2
    else:
        assert names["audio"].shape[1] == 2
        assert names["label"]["midi_note"] == 48

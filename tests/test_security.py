"""What strangers may try: each attack is made for real, and costs nothing but itself."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tasks.records import read_records
from tests.test_flow import SHORT

# ------------------------------------------------------------------------------------------ a stranger's data directory


def pickled(marker: Path) -> bytes:
    """A pickle that runs a command when it is read."""
    return f"cos\nsystem\n(Vtouch {marker}\ntR.".encode()


def record(result: str, **serializer: Any) -> bytes:
    """A record of a result, as Prefect would read it."""
    return json.dumps({"metadata": {"serializer": serializer}, "result": result}).encode()


def planted(marker: Path) -> list[bytes]:
    """Records that run something when Prefect reads them."""
    pickle = base64.encodebytes(pickled(marker)).decode()
    call = json.dumps({"__class__": "subprocess.getoutput", "data": {"cmd": f"touch {marker}"}})
    json_said = '"metadata": {"serializer": {"type": "json"}}, "result": "{}"'
    twice = f'{{{json_said}, "metadata": {{"serializer": {{"type": "pickle"}}}}, "result": {json.dumps(pickle)}}}'
    return [
        record(pickle, type="pickle"),
        record(call, type="json"),
        json.dumps({"result": pickle}).encode(),  # without a word on how to read it, Prefect unpickles
        record(json.dumps({"x": [json.loads(call)]}), type="json"),
        twice.encode(),
        json.dumps({"data": pickle, **json.loads(record("{}", type="json"))}).encode(),  # as older Prefects wrote
    ]


@pytest.mark.slow
def test_a_planted_record_is_not_read_but_replaced(cli: Any) -> None:
    made = ("generate", "-n", 60, "--data-dir", "data", "-o", "out.h5", *SHORT)
    honest = cli.json(*made)
    marker, elsewhere, results = cli.folder / "ran", cli.folder / "elsewhere", cli.folder / "data" / "results"
    link, *others = sorted(results.iterdir())
    attacks = planted(marker)
    assert len(others) == len(attacks)  # five shards, the merged file and its picture
    link.unlink()
    link.symlink_to(elsewhere)
    for path, attack in zip(others, attacks, strict=True):
        path.write_bytes(attack)
    known = read_records(cli.folder / "data", results)
    assert (len(known.unreadable), known.shards, known.datasets) == (7, {}, {})
    again = cli.json(*made)
    assert (again["digest"], again["shards_cached"]) == (honest["digest"], 0)
    assert not marker.exists()
    assert not elsewhere.exists()
    assert len(read_records(cli.folder / "data", results).shards) == 5

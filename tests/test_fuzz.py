"""Readers of strangers' files: whatever the bytes, they give a proper result or an error of ours.

Bounded and the same each time here; `make fuzz` goes on for minutes, with other examples each time.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from synthcore.base.errors import SynthcoreError
from synthcore.ingest.files import Found, Refused, find
from synthcore.ingest.wavetables import discover
from synthcore.vital import parsing, validation
from synthcore.vital.catalog import Catalog, builtin
from synthcore.vital.controls import Registry, installed
from synthcore.vital.reading import ReadPreset, read_preset

pytestmark = pytest.mark.long

#: How many times as many examples: `make fuzz` says 100.
TIMES = int(os.environ.get("FUZZ", "1"))


def bounded(examples: int) -> settings:
    """The same examples every time, except under `make fuzz`."""
    return settings(
        max_examples=examples * TIMES,
        derandomize=TIMES == 1,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )


#: What JSON may hold, and numbers that its readers may trip over.
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
scalars |= st.sampled_from([10**400, -1, 2**31, 2**63, 1e308, "NaN", "", "A" * 100, "=" * 8, "1.5.5", "\ud800"])
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
#: Ways to change a document: a walk down to a place in it, and what to put there.
Change = tuple[list[int], Any]
changes = st.lists(st.tuples(st.lists(st.integers(0, 1000), min_size=1, max_size=8), values), min_size=1, max_size=4)
#: Ways to change bytes: where, in parts of the whole, and what to put there; and how much of the whole is left.
Damage = tuple[list[tuple[float, bytes]], float]
places = st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=8))
damages = st.tuples(st.lists(places, max_size=12), st.just(1.0) | st.floats(0, 1))


def changed(document: Any, changes: list[Change]) -> Any:
    document = json.loads(json.dumps(document))
    for walk, value in changes:
        place = document
        for number, step in enumerate(walk):
            keys = list(place) if isinstance(place, dict) else range(len(place)) if isinstance(place, list) else ()
            if not keys:
                break
            key = keys[step % len(keys)]
            if number == len(walk) - 1 or not isinstance(place[key], dict | list):
                place[key] = value
                break
            place = place[key]
    return document


def damaged(content: bytes, damage: Damage) -> bytes:
    found, (writes, left) = bytearray(content), damage
    for where, what in writes:
        start = int(where * len(found))
        found[start : start + len(what)] = what
    return bytes(found[: int(left * len(found))])


@pytest.fixture(scope="module")
def preset(preset_folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((preset_folder / "sound 2.vital").read_text())
    return document


# --------------------------------------------------------------------------------------------------- presets and tables


@bounded(150)
@given(st.binary(max_size=200) | values.map(lambda value: json.dumps(value).encode("utf-8", "replace")))
def test_any_bytes_as_a_preset(content: bytes) -> None:
    with contextlib.suppress(SynthcoreError):
        validation.require_loadable(parsing.parse(content), installed())


def test_a_changed_preset(preset: dict[str, Any], registry: Registry) -> None:
    @bounded(60)
    @given(changes)
    def check(changes: list[Change]) -> None:
        content = json.dumps(changed(preset, changes)).encode()
        with contextlib.suppress(SynthcoreError):
            document = parsing.parse(content)
            validation.require_loadable(document, registry)
            mended, _ = validation.mend(document, registry)
            assert validation.mend(mended, registry)[0] == mended

    check()


def test_a_changed_preset_given_to_the_synth(preset: dict[str, Any], registry: Registry) -> None:
    @bounded(25)
    @given(changes)
    def check(changes: list[Change]) -> None:
        with contextlib.suppress(SynthcoreError):
            assert isinstance(read_preset(json.dumps(changed(preset, changes)).encode(), registry), ReadPreset)

    check()


def test_a_changed_wavetable(preset: dict[str, Any], tmp_path: Path) -> None:
    tables = json.loads((builtin().assets[builtin().entries[0].digest]).decode())

    @bounded(25)
    @given(changes)
    def check(changes: list[Change]) -> None:
        file = tmp_path / "x.vitaltable"
        file.write_bytes(json.dumps(changed(tables, changes)).encode())
        catalog, report = discover([file], 1)
        assert len(catalog) + len(report.refused) <= 1

    check()


def test_a_changed_catalog() -> None:
    text = builtin().to_json()
    document = {**json.loads(text)}
    document["entries"] = document["entries"][:2]

    @bounded(100)
    @given(changes, damages)
    def check(changes: list[Change], damage: Damage) -> None:
        for content in (json.dumps(changed(document, changes)), damaged(text.encode(), damage).decode("latin-1")):
            with contextlib.suppress(SynthcoreError):
                Catalog.from_json(content)

    check()


# ------------------------------------------------------------------------------------------------------------- archives


@pytest.fixture(scope="module")
def bank(preset_folder: Path) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(preset_folder.glob("*.vital"))[:2]:
            archive.write(file, f"Somebody/Presets/{file.name}")
        archive.writestr("../up.vital", "{}")
    return made.getvalue()


def test_a_damaged_bank(bank: bytes, tmp_path: Path) -> None:
    """Most of a bank is packed data; its end says where everything is."""

    @bounded(150)
    @given(damages, st.sampled_from([".vitalbank", ".zip", ".vital", ".vitaltable"]), st.booleans())
    @example(([(0.0, b"PK\x03\x04")], 0.0), ".zip", False)
    def check(damage: Damage, ending: str, at_the_end: bool) -> None:
        content = bank[:-400] + damaged(bank[-400:], damage) if at_the_end else damaged(bank, damage)
        file = tmp_path / f"x{ending}"
        file.write_bytes(content)
        assert all(isinstance(found, Found | Refused) for found in find(file))

    check()


# ----------------------------------------------------------------------------------------------------------------- HDF5

#: Reads file after file, each in a child of its own: libhdf5 may crash, or ask for any amount of memory.
READER = """
import os, resource, signal, sys, traceback
from pathlib import Path
from synthcore.vital.controls import installed
from synthcore.base.errors import SynthcoreError
from synthcore.analysis import inspection
from synthcore.storage import collection
from synthcore.storage.dataset import Dataset
from synthcore.storage.opening import damage_named

registry = installed()

def read_dataset(path):
    with damage_named(path), Dataset(path) as dataset:
        dataset.spec, dataset.registry, dataset.engine, dataset.assets, dataset.missing_assets, dataset.priors
        dataset.drawing, dataset.shapes, dataset.sources(), dataset.gaps, dataset.weights_status, dataset.weights
        dataset[0], dataset[:], dataset.split("train")
        for name in dataset.column_names:
            dataset.column(name)
        inspection.inspect(dataset)

def read_collection(path):
    collection.digest_of(path)
    collection.read_collection(path)

print("ready", flush=True)
for line in sys.stdin:
    kind, path = line.rstrip("\\n").split(" ", 1)
    child = os.fork()
    if not child:
        code = 1
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (30, 31))
            resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            {"dataset": read_dataset, "collection": read_collection}[kind](Path(path))
            code = 0
        except SynthcoreError:
            code = 0
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""

Read = Callable[[str, Path], int]


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Read]:
    """Read a file in a process of its own; return how it ended: 0 for a result or an error of ours."""
    said = tmp_path_factory.mktemp("reader") / "said"
    with said.open("w") as errors:
        reader = subprocess.Popen(
            [sys.executable, "-c", READER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        assert reader.stdin is not None
        assert reader.stdout is not None
        asks, answers = reader.stdin, reader.stdout
        assert reader.stdout.readline() == "ready\n"

        def ask(kind: str, path: Path) -> int:
            asks.write(f"{kind} {path}\n")
            asks.flush()
            code = int(answers.readline())
            assert code == 0, f"{code}\n{said.read_text()[-3000:]}"
            return code

        yield ask
        asks.close()
        reader.wait()


#: What an attribute or dataset of the header may be replaced by.
replacements = st.one_of(
    st.sampled_from(["", "x", "{}", "[]", "null", "1e999", "4.0.0", '{"tier": 1}', "[[[[", "\ud7ff"]),
    st.integers(-(2**31), 2**31 - 1),
    st.floats(),
    st.binary(max_size=8).map(np.void).filter(lambda value: value.nbytes > 0),
    st.sampled_from([np.zeros(0, "f4"), np.zeros((3, 0)), np.arange(4), np.zeros((2, 2), "S3"), h5py.Empty("f4")]),
)


def replace_in(path: Path, number: int, attribute: int, value: Any, *, is_link: bool) -> None:
    """Replace one object or attribute of a file; an object's name may also lead elsewhere, or nowhere."""
    with h5py.File(path, "r+") as file:
        names = names_of(file)
        name = names[number % len(names)]
        attributes = sorted(file[name].attrs)
        if attributes and attribute % 2:
            file[name].attrs[attributes[attribute % len(attributes)]] = value
            return
        del file[name]
        if is_link:
            file[name] = h5py.SoftLink("/nowhere") if attribute % 3 else h5py.ExternalLink("/etc/passwd", "/")
        else:
            file[name] = value


def names_of(file: h5py.File) -> list[str]:
    names: list[str] = []
    file.visit(names.append)
    return names


@pytest.mark.parametrize("kind", ["dataset", "collection"])
def test_a_changed_file(kind: str, request: pytest.FixtureRequest, tmp_path: Path, read: Read) -> None:
    honest: Path = request.getfixturevalue(f"honest_{kind}")
    read(kind, honest)

    @bounded(25)
    @given(st.integers(0, 10_000), st.integers(0, 100), replacements, st.booleans())
    @example(21, 0, 0, False)  # a number where text was: h5py's TypeError, which wasn't caught
    def check(number: int, attribute: int, value: Any, is_link: bool) -> None:
        file = Path(shutil.copy(honest, tmp_path / "changed.h5"))
        replace_in(file, number, attribute, value, is_link=is_link)
        read(kind, file)

    check()


@pytest.mark.parametrize("kind", ["dataset", "collection"])
def test_a_damaged_file(kind: str, request: pytest.FixtureRequest, tmp_path: Path, read: Read) -> None:
    honest: Path = request.getfixturevalue(f"honest_{kind}")
    content = honest.read_bytes()

    @bounded(25)
    @given(damages)
    def check(damage: Damage) -> None:
        file = tmp_path / "damaged.h5"
        file.write_bytes(damaged(content, damage))
        read(kind, file)

    check()


@pytest.fixture(scope="module")
def honest_dataset(tier_3: Any) -> Path:
    path: Path = tier_3.path
    return path


@pytest.fixture(scope="module")
def honest_collection(preset_folder: Path, tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> Path:
    from synthcore.ingest import collecting as ingest

    path = tmp_path_factory.mktemp("collection") / "presets.h5"
    ingest.make_collection([preset_folder], path, registry, check=False, workers=2)
    return path

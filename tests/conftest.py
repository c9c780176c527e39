"""What tests share: a short audio format, one small dataset of each tier made by the real synth, fresh interpreters."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import gc
import json
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
import pytest

from synthcore.flows.running.environment import is_healthy
from synthcore.pipeline import library
from synthcore.pipeline.shard import ShardPlan, plan_shards, render_shard
from synthcore.sources.collection import Collection
from synthcore.sources.synthetic import SyntheticSource
from synthcore.spec import AcceptanceSpec, AudioSpec, DatasetSpec
from synthcore.storage import weights
from synthcore.storage.merge import merge_shards
from synthcore.storage.refs import DatasetRef, ShardRef
from synthcore.storage.schema import AUDIO, ContentDigest
from synthcore.storage.weights import Weights
from synthcore.vital.controls import Registry, installed
from synthcore.vital.patch import Patch, init_assets
from tests.api import ask

# A shell's background job ignores Ctrl-C, and so would all that is started here.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Prefect reads its surroundings once, when it is imported: before that, tests get a home of their own.
_home = tempfile.TemporaryDirectory(prefix="synthcore-tests-")
os.environ["PREFECT_HOME"] = _home.name
os.environ["PREFECT_LOCAL_STORAGE_PATH"] = str(Path(_home.name, "storage"))
#: A folder of presets that people made, for the tests that are given one; nothing else outside the checkout is read.
REAL_PRESETS = Path(os.environ.get("SYNTHCORE_PRESETS") or os.devnull)
needs_presets = pytest.mark.skipif(not REAL_PRESETS.is_dir(), reason="SYNTHCORE_PRESETS names no folder of presets")
for _name in [n for n in os.environ if n.startswith("SYNTHCORE_") and n != "SYNTHCORE_PRESETS"]:
    del os.environ[_name]  # pytest's workers take SYNTHCORE_PRESETS from here
os.environ["SYNTHCORE_KEEP"] = "false"  # a server that a test needs ends with it

ROWS = 15  #: of a small dataset: odd, so that its last patch is cut
ROWS_PER_SHARD = 10
ROOT = Path(__file__).parent.parent
TIMEOUT_SECONDS = 60.0  #: for one render: a hang should fail, a busy machine shouldn't


def pytest_collectstart() -> None:
    gc.disable()  # until all tests are collected: thousands of objects that stay


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # vita aborts a process that ends with some of its objects left


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that have most long tests, then slow ones: what is begun last should be short."""
    long, slow = (Counter(i.path for i in items if i.get_closest_marker(mark)) for mark in ("long", "slow"))
    items.sort(key=lambda item: (-long[item.path], -slow[item.path]))


@dataclass(frozen=True)
class Made:
    """A small dataset and what it was made from."""

    spec: DatasetSpec
    data_dir: Path
    plans: list[ShardPlan]
    shards: list[ShardRef]
    ref: DatasetRef

    @property
    def path(self) -> Path:
        return Path(self.ref.path)

    def merge(
        self,
        output: Path,
        shards: list[ShardRef] | None = None,
        *,
        spec: DatasetSpec | None = None,
        data_dir: Path | None = None,
        **how: Any,
    ) -> DatasetRef:
        """Merge the shards again, or others, or copies of them in another folder, into another file."""
        context = library.merge_context(spec or self.spec, data_dir or self.data_dir)
        return merge_shards(self.shards if shards is None else shards, output, context, **how)


def make_dataset(
    spec: DatasetSpec, data_dir: Path, presets: Collection | None = None, rows_per_shard: int = ROWS_PER_SHARD
) -> Made:
    """Render and merge a dataset, without a workflow around it."""
    plans = plan_shards(spec, rows_per_shard, presets)
    shards = [render_shard(plan, data_dir, TIMEOUT_SECONDS) for plan in plans]
    output = data_dir / f"{spec.kind}.h5"
    ref = merge_shards(shards, output, library.merge_context(spec, data_dir))
    return Made(spec, data_dir, plans, shards, ref)


T = TypeVar("T")
Once = Callable[[str, Callable[[Path], T]], T]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once[Any]:
    """Make something under a name, in a folder, once for all processes that test; none of them may change it."""
    own = tmp_path_factory.getbasetemp()
    store = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    def made(name: str, make: Callable[[Path], T]) -> T:
        folder, kept = store / f"once-{name}", store / f"once-{name}.pickle"
        with kept.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not kept.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a process that failed
                folder.mkdir()
                kept.write_bytes(pickle.dumps(make(folder)))
        found: T = pickle.loads(kept.read_bytes())
        return found

    return made


@pytest.fixture(scope="session")
def registry() -> Registry:
    return installed()


@pytest.fixture(scope="session")
def short() -> AudioSpec:
    """Two notes of a quarter of a second: a render takes a tenth of a full one."""
    return AudioSpec(sample_rate=22050, notes=(48, 60), note_seconds=0.25, render_seconds=0.4)


@pytest.fixture(scope="session")
def tier_1(short: AudioSpec, once: Once[Made]) -> Made:
    """A small dataset of tier 1; its low ceiling makes sure that some candidates are refused."""
    spec = DatasetSpec(tier=1, priors="uniform", n_samples=ROWS, audio=short, acceptance=AcceptanceSpec(max_peak=0.5))
    return once("tier-1", lambda folder: make_dataset(spec, folder))


@pytest.fixture(scope="session")
def tier_2(short: AudioSpec, once: Once[Made]) -> Made:
    spec = DatasetSpec(tier=2, priors="uniform", n_samples=ROWS, audio=short)
    return once("tier-2", lambda folder: make_dataset(spec, folder))


@pytest.fixture(scope="session")
def tier_3(short: AudioSpec, once: Once[Made]) -> Made:
    spec = DatasetSpec(tier=3, priors="uniform", n_samples=ROWS, audio=short)
    return once("tier-3", lambda folder: make_dataset(spec, folder))


CURVE = {"name": "x", "num_points": 2, "points": [0.0, 0.9, 1.0, 0.2], "powers": [1.0, 0.0], "smooth": False}
SAW = {"name": "saw", "num_points": 2, "points": [0.0, 1.0, 1.0, 0.0], "powers": [0.0, 0.0], "smooth": False}


@pytest.fixture
def preset_documents() -> dict[str, dict[str, Any]]:
    """Presets such as people make, by file: with LFO shapes, curves, modulated modulations, and uneven numbers."""
    return _preset_documents()


@pytest.fixture(scope="session")
def preset_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those presets as a folder that was downloaded; one of them can't be heard."""
    folder = tmp_path_factory.mktemp("presets")
    for name, document in _preset_documents().items():
        (folder / name).write_text(json.dumps(document))
    said = {"repository": "https://example.org/sounds", "commit": "c0ffee", "licence": "CC-BY-4.0"}
    (folder / "synthcore-source.json").write_text(json.dumps(said))
    return folder


def _preset_documents() -> dict[str, dict[str, Any]]:
    registry = installed()
    sampler = SyntheticSource(
        DatasetSpec(tier=3, priors="uniform", seed=78), registry
    )  # "sound 1" is heard at every tier, "sound 2" has relatives
    made = {}
    for number in range(6):
        text = sampler.draw(number, 0).to_json(registry, sampler.assets, name=f"sound {number}")
        made[f"sound {number}.vital"] = json.loads(text)
    made["sound 1.vital"]["settings"]["lfos"][0] = SAW
    made["sound 1.vital"]["settings"]["osc_1_tune"] = 0.1  # between two unit values, as float32 has them
    slots = made["sound 2.vital"]["settings"]["modulations"]
    slots[40] = {"source": "lfo_1", "destination": "osc_1_level", "line_mapping": CURVE}
    slots[41] = {"source": "env_2", "destination": "modulation_41_amount"}
    made["sound 2.vital"]["settings"] |= {"modulation_41_amount": 0.5, "modulation_42_amount": 0.25}
    made["sound 3.vital"]["author"] = "Zoë"
    made["still.vital"] = json.loads(Patch.init(registry).to_json(registry, init_assets(registry), "still"))
    made["still.vital"]["settings"]["volume"] = 0.0
    return made


@pytest.fixture(params=[1, 2, 3], ids="tier-{}".format)
def each_tier(request: pytest.FixtureRequest) -> Made:
    made: Made = request.getfixturevalue(f"tier_{request.param}")
    return made


Forge = Callable[[Made], Path]


@pytest.fixture
def forge(tmp_path: Path) -> Forge:
    """Copy a dataset, to be changed behind its back."""
    return lambda made: Path(shutil.copy(made.path, tmp_path / "forged.h5"))


def forge_registry(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the registry that a dataset holds."""
    with h5py.File(path, "r+") as file:
        config = json.loads(file["schema/registry"][:].tobytes())
        change(config)
        del file["schema/registry"]
        file["schema"].create_dataset("registry", data=np.frombuffer(json.dumps(config).encode(), np.uint8))


def forge_engine(path: Path) -> None:
    """Let a dataset say that it was made on another type of machine."""
    with h5py.File(path, "r+") as file:
        said = json.loads(file["schema"].attrs["engine"])
        file["schema"].attrs["engine"] = json.dumps({**said, "cpu_features": "sse9"})


def sign(path: Path, spec: DatasetSpec) -> None:
    """Bring the content digest of a changed dataset up to what its rows add up to."""
    with h5py.File(path, "r+") as file:
        digest = ContentDigest(spec)
        digest.update({f"metadata/{part}": file[f"metadata/{part}"][:] for part in ContentDigest.PARTS})
        file["schema"].attrs["content_digest"] = digest.hexdigest()


@pytest.fixture
def learnable(tier_3: Made, forge: Forge) -> Path:
    """A dataset of 10 rows to train with and 5 to validate, with masks of activity and complete weights."""
    path, random = forge(tier_3), np.random.default_rng(0)
    with h5py.File(path, "r+") as file:
        file["metadata/split"][:] = random.permutation([b"train"] * 10 + [b"val"] * 5)
        file["params/active"][:] = random.random((15, 448)) < 0.5
    continuous, categorical = random.random(322).astype("f4"), random.random(126).astype("f4")
    weights.write(path, Weights(continuous, categorical, continuous, categorical, method={}))
    return path


@dataclass(frozen=True)
class Forgeries:
    """Ways to change a dataset file behind its back."""

    registry = staticmethod(forge_registry)
    engine = staticmethod(forge_engine)
    sign = staticmethod(sign)


@pytest.fixture
def forgeries() -> Forgeries:
    return Forgeries()


Fresh = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def fresh(tmp_path: Path) -> Fresh:
    """Run Python code in a new interpreter and a folder of its own; `without` names modules it can't import."""

    def run(
        code: str, *arguments: object, without: tuple[str, ...] = (), check: bool = True, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        blocked = "".join(f"sys.modules[{name!r}] = None\n" for name in without)
        done = subprocess.run(
            [sys.executable, "-c", f"import sys\n{blocked}{code}", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    return run


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real Prefect server on a free port, with a database of its own, ended with the session."""
    home = tmp_path_factory.mktemp("prefect")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "PREFECT_HOME": str(home), "PREFECT_SERVER_API_PORT": str(port), "DO_NOT_TRACK": "1"}
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)]
    with (home / "server.log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            api = f"http://127.0.0.1:{port}/api"
            wait_until(lambda: is_healthy(api), seconds=180)
            yield api
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait()


#: What a program does that writes into a dataset: HDF5 locks the file until it is closed.
HOLDS = """
import h5py, sys
with h5py.File(sys.argv[1], "r+"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def held() -> Callable[[Path], contextlib.AbstractContextManager[None]]:
    """Have another program write a file, for the length of a block."""

    @contextlib.contextmanager
    def hold(path: Path) -> Iterator[None]:
        command = [sys.executable, "-c", HOLDS, str(path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield
            process.communicate()

    return hold


@pytest.fixture
def stranger() -> Iterator[str]:
    """Listen at an address, and say nothing."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        yield "{}:{}".format(*silent.getsockname())


def place_of(path: Path, row: int) -> tuple[int, int]:
    """Where a row's audio lies in a file: its first byte, and how many it has."""
    with h5py.File(path) as file:
        chunk = file[AUDIO].id.get_chunk_info_by_coord((row, 0, 0))
    return chunk.byte_offset, chunk.size


def wait_until(holds: Callable[[], bool], seconds: float) -> None:
    """Wait for something that will come; the limit is only for when it doesn't."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain"
        time.sleep(0.05)


#: Whether this machine lets a test mount things for itself.
CAN_MOUNT = (
    sys.platform == "linux"
    and shutil.which("unshare")
    and subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0
)


#: Before a command: permissions hold for root as well, where it has them from its capabilities alone.
UNPRIVILEGED = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
MAY_BE_KEPT_OUT = not UNPRIVILEGED or shutil.which("setpriv") is not None


@dataclass(frozen=True)
class Cli:
    """The command line, as a user's shell runs it: in a process and a folder of its own."""

    folder: Path
    api: str

    def start(
        self,
        *arguments: object,
        program: tuple[str, ...] = ("-m", "synthcore.flows.cli"),
        within: tuple[str, ...] = (),
        **how: Any,
    ) -> subprocess.Popen[str]:
        command = [*within, sys.executable, *program, *map(str, arguments)]
        environment = {**os.environ, "PREFECT_API_URL": self.api, **how.pop("env", {})}
        # A shell starts what runs in the background deaf to Ctrl-C; these tests may run there.
        how.setdefault("preexec_fn", functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL))
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **how,
        )

    def run(self, *arguments: object, **how: Any) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, **how)
        out, err = process.communicate()
        return subprocess.CompletedProcess([str(a) for a in arguments], process.returncode, out, err)

    def json(self, *arguments: object, **how: Any) -> dict[str, Any]:
        """Run a command that must succeed, and read the one document that it prints."""
        done = self.run(*arguments, "--json", **how)
        assert done.returncode == 0, done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    wait_until = staticmethod(wait_until)


@pytest.fixture(scope="session")
def cli_in(prefect_api: str) -> Callable[[Path], Cli]:
    """The command line in a folder of one's choice."""
    return lambda folder: Cli(folder, prefect_api)


@pytest.fixture
def cli(tmp_path: Path, cli_in: Callable[[Path], Cli]) -> Cli:
    return cli_in(tmp_path)


#: Command after command in one process, which imports Prefect once.
COMMANDS = """
import json, os, sys
from synthcore.flows.cli import main
for line in sys.stdin:
    folder, words = json.loads(line)
    os.chdir(folder)
    code = main(words)
    print(f"exit {code}", flush=True)
"""


@dataclass(frozen=True)
class Warm:
    """The command line in a process that stays. For what doesn't depend on processes: it saves seconds each time."""

    process: subprocess.Popen[str]
    said: Path
    folder: Path

    def json(self, *arguments: object) -> dict[str, Any]:
        """Run a command that must succeed, and read the one document that it prints."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([str(self.folder), [*map(str, arguments), "--json"]]) + "\n")
        self.process.stdin.flush()
        report, code = self.process.stdout.readline(), ""
        if report.startswith("{"):
            code = self.process.stdout.readline()
        assert code == "exit 0\n", self.said.read_text()[-3000:]
        read: dict[str, Any] = json.loads(report)
        return read


@pytest.fixture(scope="session")
def warm_in(prefect_api: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], Warm]]:
    """The command line in a folder of one's choice, and in a process that stays."""
    said = tmp_path_factory.mktemp("warm") / "said"
    with said.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", COMMANDS],
            env={**os.environ, "PREFECT_API_URL": prefect_api},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
        yield lambda folder: Warm(process, said, folder)
        process.communicate()


@pytest.fixture
def warm(tmp_path: Path, warm_in: Callable[[Path], Warm]) -> Warm:
    return warm_in(tmp_path)


@pytest.fixture
def latest(prefect_api: str) -> Callable[[str], str]:
    """What the newest artifact of a key holds."""

    def read(key: str) -> str:
        return str(ask(f"{prefect_api}/artifacts/{key}/latest", method="GET")["data"])

    return read

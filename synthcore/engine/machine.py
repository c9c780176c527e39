"""What rendered bytes depend on besides the patch: the build of vita, the CPU, the C library, our road.

Two machines of one type render the same bits. The type is part of every cache key, and of every file.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import platform
import re
import subprocess
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from synthcore.base.errors import SynthcoreError
from synthcore.base.hashing import canonical_json

#: Raise it when the road from label to audio changes: the settling, the order of notes, the zygote's warm-up.
ENGINE_VERSION = 1
#: What mathematical libraries choose their code by; flags about virtual machines or security change no sound.
_MATHEMATICAL = re.compile(r"(sse|ssse|avx|fma|f16c|bmi|asimd|sve|neon)\w*")
#: vita divides by SSE's `rcpps`, an estimate whose last bits x86 leaves to the CPU's maker, and a maker to its design.
_MAKE = re.compile(r"^(?:vendor_id|cpu family)\s*:\s*(\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Engine:
    """What the audio of a dataset was made with.

    Attributes
    ----------
    vita : str
        Version of the package.
    build : str
        SHA-256 of its compiled module, in hex.
    machine : str
        Architecture, libc and version.
    cpu_features : str
        The CPU's maker and family, if x86, and the features that mathematical code is chosen by; or the processor's
        name where they can't be listed.
    version : int
        `ENGINE_VERSION`.
    """

    vita: str
    build: str
    machine: str
    cpu_features: str
    version: int = ENGINE_VERSION

    @property
    def fingerprint(self) -> str:
        """SHA-256 in hex."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def differences(self, other: Engine) -> list[str]:
        """Name what another engine has otherwise; nothing if they render the same bits."""
        return [name for name, ours in asdict(self).items() if ours != getattr(other, name)]

    def to_json(self) -> str:
        """Serialise to canonical JSON."""
        return canonical_json(asdict(self))


@lru_cache(maxsize=1)
def engine() -> Engine:
    """The engine of this process's machine.

    Raises
    ------
    SynthcoreError
        vita is not installed.
    """
    spec = importlib.util.find_spec("vita")
    if spec is None or not spec.submodule_search_locations:
        raise SynthcoreError("the package vita, which is the synthesizer, is not installed; run make setup")
    modules = sorted(p for p in Path(next(iter(spec.submodule_search_locations))).iterdir() if p.suffix == ".so")
    digest = hashlib.sha256(b"".join(p.read_bytes() for p in modules))
    return Engine(
        vita=importlib.metadata.version("vita"),
        build=digest.hexdigest(),
        # macOS has its mathematics in the system, so the system's version stands for libc's.
        machine=" ".join((platform.system(), platform.machine(), *platform.libc_ver(), platform.mac_ver()[0])).strip(),
        cpu_features=_cpu_features(),
    )


def _cpu_features() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:  # macOS names the chip instead
        asked = subprocess.run(
            ["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False
        )
        return asked.stdout.strip() or platform.processor()
    return features_in(text)


def features_in(cpuinfo: str) -> str:
    """Read what sound depends on from Linux's description of the CPUs, which are taken to be alike."""
    first = cpuinfo.split("\n\n")[0]
    listed = re.search(r"^(?:flags|Features)\s*:(.*)$", first, re.MULTILINE)
    mathematical = sorted(w for w in (listed[1].split() if listed else ()) if _MATHEMATICAL.fullmatch(w))
    return " ".join(_MAKE.findall(first) + mathematical)

"""How many renderers this process may keep busy: as many as it has cores, and as fit into its memory."""

from __future__ import annotations

from synthcore.base.counting import how_many
from synthcore.base.resources import Resources, resources

# Measured as proportional set sizes, at tier 1 with sounds of 2 s: 220 MB for a run, 200 for the Prefect server that it
# starts, 125 for a zygote with its children. The rest is for larger runs, whose peak at 2,000 rows was 360 MB.
RUN_BYTES = 600_000_000  #: what a run takes besides its renderers
RENDERER_BYTES = 200_000_000  #: what a renderer takes, with what is longer or has more modules


def renderers_within(allowed: Resources) -> int:
    """How many renderers keep such cores busy and fit into such memory: at least one."""
    return min(allowed.cores, _fitting(allowed.memory_bytes))


def is_short_of_memory(allowed: Resources) -> bool:
    """Whether not even one renderer fits safely."""
    return allowed.memory_bytes < RUN_BYTES + RENDERER_BYTES


def remark_on(workers: int, allowed: Resources) -> str:
    """What is to be said of more workers than such cores and memory are for; nothing of others."""
    exceeded = []
    if workers > allowed.cores:
        exceeded.append(f"{how_many(allowed.cores, 'core')} ({allowed.cores_source})")
    if workers > _fitting(allowed.memory_bytes):
        exceeded.append(f"{allowed.memory_bytes / 1e9:.1f} GB of memory ({allowed.memory_source})")
    if not exceeded:
        return ""
    default = renderers_within(allowed)
    return f"{workers} workers start, but only {default} would by default: {' and '.join(exceeded)} may be used"


def _fitting(memory_bytes: int) -> int:
    """How many renderers fit into such memory: at least one."""
    return max(1, (memory_bytes - RUN_BYTES) // RENDERER_BYTES)


CORES = resources().cores  #: that this process may use
RENDERERS = renderers_within(resources())  #: at a time, where nothing else is said

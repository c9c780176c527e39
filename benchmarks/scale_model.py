"""How long a run takes on so many workers, from what its stages took here. Formulae alone; `scale` measures.

A shard is a task. Workers render side by side; what all shards pass through one after the other sets a ceiling: the
flow with its scheduler, Prefect's API, the file system. Merging comes afterwards, and is the work of one process.
"""

from __future__ import annotations

from dataclasses import dataclass

from synthcore.flows.running.runners import AHEAD


@dataclass(frozen=True, slots=True)
class Stages:
    """What was measured.

    Attributes
    ----------
    row_seconds : float
        Wall seconds of one worker for one row kept, everything that it does for it included.
    rows_per_shard : int
    row_bytes : float
        In the shard.
    flow_cpu, api_cpu, worker_cpu : float
        CPU seconds a shard's task costs the flow with its scheduler, Prefect's server, and the process it runs in.
    latency : float
        Seconds from one shard's end to the next one's begin, where one worker is all there is.
    write_rate, merge_rate, view_rate : float
        Bytes a second: of the file system; of merging by copy; of merging by reference, which reads and checks all.
    start : float
        Seconds from the command to the first shard.
    """

    row_seconds: float
    rows_per_shard: int
    row_bytes: float
    flow_cpu: float
    api_cpu: float
    worker_cpu: float
    latency: float
    write_rate: float
    merge_rate: float
    view_rate: float
    start: float

    @property
    def ceilings(self) -> dict[str, float]:
        """Rows a second that each stage lets through, however many workers there are."""
        return {
            "scheduler": self.rows_per_shard / self.flow_cpu,
            "API": self.rows_per_shard / self.api_cpu,
            "file system": self.write_rate / self.row_bytes,
            f"shards handed out at a time ({AHEAD})": self.workers_rate(AHEAD),
        }

    @property
    def shard_seconds(self) -> float:
        """How long a worker is busy with a shard."""
        return self.rows_per_shard * self.row_seconds + self.latency

    def workers_rate(self, workers: int) -> float:
        """Rows a second of so many workers, were nothing else there."""
        return workers * self.rows_per_shard / self.shard_seconds

    def rate(self, workers: int) -> float:
        """Rows a second while rendering."""
        return min(self.workers_rate(workers), *self.ceilings.values())

    def saturates(self, workers: int) -> str:
        """What sets the pace."""
        pace = {"workers": self.workers_rate(workers), **self.ceilings}
        return min(pace, key=lambda name: pace[name])

    def fixed_seconds(self) -> float:
        """What a run takes that no worker makes shorter: its start, and its last shard, for which others wait."""
        return self.start + self.shard_seconds

    def seconds(self, workers: int, rows: int, *, view: bool = False) -> float:
        """How long a whole run takes."""
        merging = rows * self.row_bytes / (self.view_rate if view else self.merge_rate)
        return self.fixed_seconds() + rows / self.rate(workers) + merging

    def merge_share(self, workers: int, *, view: bool = False) -> float:
        """Share of a long run's time that goes into merging."""
        merging = self.row_bytes / (self.view_rate if view else self.merge_rate)
        return merging / (merging + 1 / self.rate(workers))

    def saturating_workers(self) -> dict[str, float]:
        """From how many workers on each stage sets the pace; for merging, takes as long as rendering."""
        one = self.workers_rate(1)
        stages = {**self.ceilings, "merge, by copy": self.merge_rate / self.row_bytes}
        stages["merge, by reference"] = self.view_rate / self.row_bytes
        return dict(sorted(((name, ceiling / one) for name, ceiling in stages.items()), key=lambda stage: stage[1]))

    def felt_from(self, workers: int) -> int:
        """Rows from which on the pace of rendering takes longer than what is fixed: below, more workers help little."""
        return round(self.fixed_seconds() * self.rate(workers))


def sleeping_seconds(stages: Stages, tasks: int, sleep: float, slots: int, cores: int, processes: int) -> float:
    """How long a run of sleeps takes when flow, scheduler, server and workers share one machine.

    Parameters
    ----------
    stages : Stages
    tasks : int
    sleep : float
        Seconds each.
    slots : int
        Tasks at a time.
    cores : int
        Of the machine.
    processes : int
        Among which the slots are shared: Python lets one thread of each go on at a time.
    """
    one = sleep + stages.latency
    each = stages.flow_cpu + stages.api_cpu + stages.worker_cpu
    by_cpu = max(stages.flow_cpu, stages.api_cpu, stages.worker_cpu / processes, each / cores)
    in_waves = -(-tasks // min(slots, AHEAD)) * one
    return max(in_waves, tasks * by_cpu + one)

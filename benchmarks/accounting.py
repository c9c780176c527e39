"""A run of `synthcore generate` that keeps accounts: whose CPU seconds, and for what.

It is the run itself with its functions timed by the thread that calls them; the zygotes are asked nothing. What the
system knows of a zygote and of all the children it waited for is read when it ends. The window is that of a run's
`seconds`: from the first shard's start to the output's name.

Run as `python -m benchmarks.accounting ARGUMENTS...`, those of `synthcore generate`; prints one JSON document.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import psutil

from synthcore.engine import client, lending
from synthcore.engine.rendering import Outcome
from synthcore.flows import cli
from synthcore.flows.running import server
from synthcore.flows.running.environment import prefect_home
from synthcore.pipeline import shard
from synthcore.pipeline.shard import ShardWork
from synthcore.storage import merge
from synthcore.storage.writer import ShardWriter

account: dict[str, float] = defaultdict(float)
_lock = threading.Lock()
_nested = threading.local()


def add(name: str, seconds: float) -> None:
    """Book some seconds."""
    with _lock:
        account[name] += seconds


def timed(owner: Any, name: str, item: str) -> None:
    """Book what a function costs its thread, less what is booked of it elsewhere."""
    work: Callable[..., Any] = getattr(owner, name)

    @functools.wraps(work)
    def booked(*given: Any, **named: Any) -> Any:
        outer, _nested.seconds = getattr(_nested, "seconds", 0.0), 0.0
        started = time.thread_time()
        try:
            return work(*given, **named)
        finally:
            took = time.thread_time() - started
            add(item, took - _nested.seconds)
            _nested.seconds = outer + took

    setattr(owner, name, booked)


def keep_accounts() -> None:
    """Time what the run's own process does, and take down what zygotes and servers have used."""
    timed(ShardWork, "_next", "patches and their JSON")
    timed(client.Renderer, "render", "pipe, our end")
    timed(ShardWriter, "append", "shard write")
    timed(ShardWriter, "finish", "shard write")
    timed(shard, "file_checksum", "shard write")
    timed(merge, "merge_shards", "merge")
    judge, kill = ShardWork._judge, client.Zygote.kill

    def judged(work: ShardWork, candidate: Any, outcome: Outcome) -> None:
        add("render", outcome.cpu.render)
        add("settle", outcome.cpu.settle)
        add("candidates", 1)
        add("rows", len(outcome.rows))
        judge(work, candidate, outcome)

    def killed(zygote: client.Zygote) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            used = psutil.Process(zygote.process.pid).cpu_times()
            add("zygote: user", used.user)
            add("zygote: system", used.system)
            add("children: user", used.children_user)
            add("children: system", used.children_system)
        kill(zygote)

    ShardWork._judge = judged  # type: ignore[method-assign, assignment]
    client.Zygote.kill = killed  # type: ignore[method-assign, assignment]


@contextlib.contextmanager
def window() -> Iterator[None]:
    """Book what this process, Prefect's server and the whole machine used within the block."""
    own, server, machine, started = os.times(), _server_seconds(), psutil.cpu_times(), time.monotonic()
    try:
        yield
    finally:
        now, after = os.times(), psutil.cpu_times()
        add("wall", time.monotonic() - started)
        add("flow", now.user + now.system - own.user - own.system)
        add("server", _server_seconds() - server)
        add("machine", sum(after) - after.idle - after.iowait - (sum(machine) - machine.idle - machine.iowait))


def _server_seconds() -> float:
    """CPU seconds of the server that this run uses: a child of ours that is no zygote, or one that is shared."""
    zygotes = {zygote.process.pid for zygote in client.living}
    servers = {child for child in psutil.Process().children() if child.pid not in zygotes}
    if shared := server.running(prefect_home()):
        servers.add(psutil.Process(shared.pid))
    family = {one for first in servers for one in (first, *first.children(recursive=True))}
    return sum(sum(one.cpu_times()[:2]) for one in family)


def main() -> int:
    """Generate, and print the account."""
    keep_accounts()
    bound = lending.at_most

    @contextlib.contextmanager
    def watched(renderers: int) -> Iterator[None]:
        # It is the innermost of what a run enters before its clock starts, and ends every zygote when it is left.
        with window(), bound(renderers):
            yield

    lending.at_most = watched
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = cli.main(["generate", *sys.argv[1:], "--json"])
    print(json.dumps({**json.loads(said.getvalue()), "account": account}) if code == 0 else said.getvalue())
    return code


if __name__ == "__main__":
    sys.exit(main())

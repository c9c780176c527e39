"""How many tasks that compute run at a time on one machine, of all runs on it: a concurrency limit, if there is one."""

from __future__ import annotations

import socket
from functools import cache

from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound


@cache
def of_this_machine() -> list[str]:
    """Names of the limits that apply here, read once in a process: `render-HOST`, or none if nobody created it.

    A global concurrency limit rather than one by tag: the slots of a process that is killed are free after minutes.
    """
    name = f"render-{socket.gethostname()}"
    try:
        with get_client(sync_client=True) as client:
            client.read_global_concurrency_limit_by_name(name)
    except ObjectNotFound:
        return []
    return [name]

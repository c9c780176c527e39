"""The surroundings Prefect reads when it is imported. Call `prepare` before importing prefect.

A running server makes a run start in 5 s; without one, Prefect starts a server for the run alone, in 20 to 30 s.
"""

from __future__ import annotations

import os
import urllib.request

LOCAL_API = "http://127.0.0.1:4200/api"
#: The default of 20 s is too short for a machine that has never imported the server before.
EPHEMERAL_START_SECONDS = "120"


def prepare() -> str:
    """Choose the Prefect server: the one named, else the one running here, else one for this run alone.

    Returns
    -------
    str
        The choice, for people.
    """
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    named = os.environ.get("PREFECT_API_URL")
    if named:
        return f"Prefect server: {named}"
    if is_healthy(LOCAL_API):
        os.environ["PREFECT_API_URL"] = LOCAL_API
        return f"Prefect server: {LOCAL_API}"
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", EPHEMERAL_START_SECONDS)
    return "Prefect server: one for this run, which takes 20 s to start (prefect server start keeps one running)"


def is_healthy(api: str) -> bool:
    """Whether a Prefect server answers at this address."""
    try:
        with urllib.request.urlopen(f"{api}/health", timeout=0.3):
            return True
    except OSError:
        return False

"""Ask a Prefect server, and wait while it is busy, as Prefect's own client does."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any

BUSY = 503  #: the status of a server whose SQLite is locked at the moment
PATIENCE_SECONDS = 60.0


def ask(address: str, question: dict[str, Any] | None = None, method: str = "POST") -> Any:
    data = None if method == "GET" else json.dumps(question or {}).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"}, method=method)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with urllib.request.urlopen(request) as answer:
                text = answer.read()
            return json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            if error.code != BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.5)

"""A real browser for tests: Debian's Chromium without a window, spoken to in its DevTools protocol."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.sync.client import connect
from websockets.sync.connection import Connection

CHROMIUM = shutil.which("chromium")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--remote-debugging-port=0",  # any that is free
)
SECONDS = 60  #: for one answer: a hang should fail, a busy machine shouldn't


class Tab:
    """One page. What it says on its console, and what it asks the network for, is kept."""

    def __init__(self, socket: Connection) -> None:
        self._socket, self._ids = socket, itertools.count(1)
        self.complaints: list[str] = []
        self.requests: list[str] = []

    def do(self, method: str, **parameters: Any) -> Any:
        """Send a command, and give back what it returns."""
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        return self._listen(lambda message: message.get("id") == number)["result"]

    def run(self, script: str) -> Any:
        """Run JavaScript as if a person had clicked, wait for a promise, and give back its value."""
        done = self.do("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def show(self, page: Path, width: int, height: int = 900, scheme: str = "light") -> None:
        """Open a file in a window of that width."""
        self.do(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        self.do("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.do("Page.navigate", url=page.as_uri())
        self._listen(lambda message: message.get("method") == "Page.loadEventFired")

    def picture(self, to: Path) -> None:
        """Take a picture of the whole page."""
        shot = self.do("Page.captureScreenshot", captureBeyondViewport=True)
        to.write_bytes(base64.b64decode(shot["data"]))

    def _listen(self, is_wanted: Any) -> Any:
        while True:
            message = json.loads(self._socket.recv(timeout=SECONDS))
            said = message.get("params", {})
            match message.get("method"):
                case "Runtime.exceptionThrown":
                    self.complaints.append(said["exceptionDetails"]["text"])
                case "Runtime.consoleAPICalled" if said["type"] in ("error", "warning", "assert"):
                    self.complaints.append(str(said["args"]))
                case "Log.entryAdded":
                    self.complaints.append(said["entry"]["text"])
                case "Network.requestWillBeSent":
                    self.requests.append(said["request"]["url"])
            assert "error" not in message, message
            if is_wanted(message):
                return message


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[Tab]:
    """Start Chromium with a profile of its own in `folder`, and end it."""
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={folder}", "about:blank"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr
            found = next(filter(None, (re.search(r"ws://[^/]+", line) for line in process.stderr)))
            with connect(f"{found[0]}/devtools/page/{_first_tab(found[0])}", max_size=None, proxy=None) as socket:
                tab = Tab(socket)
                for domain in ("Page", "Runtime", "Log", "Network"):
                    tab.do(f"{domain}.enable")
                yield tab
        finally:
            process.terminate()


def _first_tab(address: str) -> str:
    import httpx

    listed = httpx.get(f"{address.replace('ws', 'http', 1)}/json/list", trust_env=False).json()
    return str(next(target["id"] for target in listed if target["type"] == "page"))

"""The server that commands share: started once, found by the next, gone with its folder, when idle, or when told."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_AUTH_STRING, temporary_settings

from benchmarks.processes import Server, is_alive
from synthcore.base.errors import SynthcoreError
from synthcore.flows.running import doctor, environment, serve, server
from tests.conftest import Fresh, wait_until


@pytest.mark.long
def test_commands_share_one_server_until_down_or_their_folder_ends_it(cli: Any, fresh: Fresh, tmp_path: Path) -> None:
    home = tmp_path / "home"
    alone = {"PREFECT_API_URL": "", "PREFECT_HOME": str(home), "SYNTHCORE_KEEP": "true"}
    with ThreadPoolExecutor() as pool:  # two first commands at once
        one, other = pool.map(server.shared, [home, home])
    assert (one.api, one.pid) == (other.api, other.pid)
    assert (one.process is None) != (other.process is None)
    one.require_ready(server.log_of(home))

    done = cli.run("discover-wt", "--data-dir", "data", env=alone)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(f"Prefect server: {one.api.removesuffix('/api')}\n")
    findings = cli.json("doctor", "--data-dir", "data", env=alone)["findings"]
    (found,) = [finding["what"] for finding in findings if finding["check"] == "server"]
    assert found.startswith(f"the server that commands share at {one.api.removesuffix('/api')} (process {one.pid})")

    os.kill(one.pid, signal.SIGKILL)
    next(s.process for s in (one, other) if s.process).wait()
    second = server.shared(home)  # a dead one is replaced
    second.require_ready(server.log_of(home))
    assert second.pid != one.pid
    assert cli.json("down", env=alone) == {"ended": ["shared server"]}
    assert cli.json("down", env=alone) == {"ended": []}
    assert second.process is not None
    assert second.process.wait() is not None

    code = "from synthcore.flows.running import environment as e; print(e.prepare(keep=True)); print(e._ours.pid)"
    first, stays, pid = fresh(f"import os; os.environ |= {alone}; {code}").stdout.splitlines()
    assert re.fullmatch(r"Prefect server: http://127.0.0.1:\d+, just started:", first)
    assert stays == "  it stays for the next commands, until 15 idle minutes or synthcore down"
    server.book_of(home).unlink()  # as with the whole folder
    wait_until(lambda: not is_alive(int(pid)), seconds=60)


@pytest.mark.long
def test_a_server_ends_when_idle_and_one_of_a_run_alone_with_the_run(
    fresh: Fresh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "IDLE_SECONDS", 1)
    shared = server.shared(tmp_path)
    shared.require_ready(server.log_of(tmp_path))
    assert shared.process is not None
    assert shared.process.wait() == 0
    assert server.running(tmp_path) is None
    code = "from synthcore.flows.running import server; from pathlib import Path; print(server.alone(Path.cwd()).pid)"
    pid = int(fresh(code).stdout)
    wait_until(lambda: not is_alive(pid), seconds=60)


@pytest.mark.slow
def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "prefect.db").write_text("not a database")
    started = server.alone(tmp_path)
    with pytest.raises(SynthcoreError, match=r"ended before it answered: .*not a database.*shared-server.log\)"):
        started.require_ready(server.log_of(tmp_path))
    assert started.process is not None
    assert started.process.stdin is not None
    assert started.process.stdin.closed


@pytest.mark.parametrize(
    ("output", "says"),
    [
        (  # of a server that `up` has started on a file that is not a database
            "DatabaseError: file is not a database\n(Background on this error at: https://sqlalche.me/e/21/4xp6)\n\n"
            "ERROR:    Application startup failed. Exiting.\nServer stopped!\n",
            "DatabaseError: file is not a database",
        ),
        ("╭─────╮\n│ Port 4200 is in use │\n╰─────╯\n", "Port 4200 is in use"),
        ("ERROR:    Application startup failed. Exiting.\n", "ERROR:    Application startup failed. Exiting."),
        ("\n", "it said nothing"),
    ],
)
def test_the_last_line_of_a_program_is_the_one_that_says_why(output: str, says: str) -> None:
    assert server.last_line(output) == says


def test_who_asks_keeps_the_server_from_being_idle() -> None:
    async def answer(scope: Any, receive: Any, send: Any) -> None:
        assert app.idle_seconds == 0
        raise ConnectionError

    app = serve.IdleTimer(answer)
    app._last -= 100
    assert app.idle_seconds > 99
    with pytest.raises(ConnectionError):
        asyncio.run(app({"type": "http"}, None, None))
    assert 0 < app.idle_seconds < 50


def test_a_database_begins_migrated_and_another_one_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def database(name: str, revision: str) -> Path:
        with closing(sqlite3.connect(tmp_path / name)) as made:
            made.execute("CREATE TABLE alembic_version (version_num)")
            made.execute(f"INSERT INTO alembic_version VALUES ('{revision}')")
            made.commit()
        return tmp_path / name

    ready = database("template.db", "b")
    monkeypatch.setattr(serve, "template", lambda: ready)
    for name in ("PREFECT_API_DATABASE_MIGRATE_ON_START", "PREFECT_API_BLOCKS_REGISTER_ON_START"):
        monkeypatch.setenv(name, "")  # so that they are unset again after the test, which has them set
        monkeypatch.delenv(name)
    old = database("old.db", "a")
    serve.provide_database(old)
    assert serve.revision(old) == "a"
    assert "PREFECT_API_DATABASE_MIGRATE_ON_START" not in os.environ
    new = tmp_path / "new.db"
    serve.provide_database(new)
    assert new.read_bytes() == ready.read_bytes()
    assert os.environ["PREFECT_API_DATABASE_MIGRATE_ON_START"] == "false"


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("prefect.toml", '[api]\nurl = "http://x/api"\n'),
        ("pyproject.toml", '[tool.prefect.api]\nurl = "http://x/api"\n'),
        ("home/profiles.toml", 'active = "mine"\n[profiles.mine]\nPREFECT_API_URL = "http://x/api"\n'),
    ],
)
def test_the_server_that_someone_has_named_is_used(
    file: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.delenv("PREFECT_PROFILE", raising=False)
    monkeypatch.setattr(environment, "_chosen", "")  # another test of this process may have chosen a server
    assert environment.named_api() == (None, "")
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text)
    assert environment.named_api()[0] == "http://x/api"
    with pytest.raises(SynthcoreError, match="no Prefect server answers at http://x/api, which .* names; start it"):
        environment.prepare(keep=False)
    if file.startswith("home"):  # what `synthcore up` wrote there is not the user's choice
        environment.started_file().parent.mkdir()
        environment.started_file().write_text(json.dumps({"api": "http://x/api"}))
        assert environment.named_api() == (None, "")


ASK_TWICE_IF_NEED_BE = """
from synthcore.flows.running import environment
environment.prepare()
from prefect.client.orchestration import get_client
with get_client(sync_client=True) as client:
    print(client.hello().status_code)
"""


@pytest.mark.slow
def test_a_server_whose_database_was_locked_for_once_is_asked_again() -> None:
    asked: list[str] = []

    class LockedAtFirst(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(500 if self.path.endswith("/hello") and asked.count(self.path) == 1 else 200)
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", "0")
            self.end_headers()

    with HTTPServer(("127.0.0.1", 0), LockedAtFirst) as locked:
        threading.Thread(target=locked.serve_forever, daemon=True).start()
        surroundings = {**os.environ, "PREFECT_API_URL": f"http://127.0.0.1:{locked.server_port}/api"}
        done = subprocess.run([sys.executable, "-c", ASK_TWICE_IF_NEED_BE], env=surroundings, capture_output=True)
        locked.shutdown()
    assert (done.stdout, asked.count("/api/hello")) == (b"200\n", 2), done.stderr.decode()


@pytest.mark.long
def test_the_doctor_asks_a_server_that_has_a_password_as_prefect_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "admin:secret")
    guarded = Server(tmp_path / "home")
    guarded.start()
    try:
        monkeypatch.setenv("PREFECT_API_URL", guarded.api)
        for login, state, words in (
            ("admin:secret", "ok", "Prefect 3"),
            ("admin:wrong", "problem", "asks for a login"),
            (None, "problem", "asks for a login"),
        ):
            with temporary_settings({PREFECT_API_AUTH_STRING: login}):
                finding = next(doctor._server())
            assert finding.state == state
            assert words in finding.what
            assert "secret" not in finding.what
    finally:
        guarded.kill()

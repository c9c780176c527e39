"""Downloads from real git remotes and a real HTTP server on this machine, well-behaved and not."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import io
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from synthcore.base.errors import DownloadError, SpecError
from synthcore.ingest import archives, download
from synthcore.ingest.download import DownloadReport, DownloadResult, IncompleteDownload, Outcome
from synthcore.ingest.remotes import KNOWN, RemoteSource
from synthcore.ingest.transfer import Limits, listening
from synthcore.settings.commands import parse
from synthcore.settings.generate import Generate
from synthcore.settings.ingestion import DownloadPresets

PRESET = b'{"settings": {}}\n'
QUICK = Limits(timeout=60, max_megabytes=2, max_files=1000)
BACK_OFF = 0.01  #: seconds before the second try

# ---------------------------------------------------------------------------------------------------- remotes and sites


@dataclass(frozen=True)
class Remote:
    """A bare repository, and the means to put commits into it."""

    path: Path

    @property
    def url(self) -> str:
        return f"file://{self.path}"

    def git(self, *arguments: str, stdin: bytes = b"") -> str:
        clean = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "HOME": str(self.path.parent)}
        done = subprocess.run(
            ["git", "--git-dir", str(self.path), *arguments],
            input=stdin,
            capture_output=True,
            env={"PATH": os.environ["PATH"], **clean},
            check=True,
        )
        return done.stdout.decode().strip()

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        """Make these files, and no others, a branch's newest commit; `link:x` is a symlink, `module:x` a submodule."""
        modes = {"link": "120000", "module": "160000"}
        who = b"Someone <someone@example.org> 1700000000 +0000"
        script = b"commit refs/heads/%s\ncommitter %s\ndata 1\nx\n" % (branch.encode(), who)
        if self.git("for-each-ref", f"refs/heads/{branch}"):
            script += b"from refs/heads/%s^0\n" % branch.encode()
        script += b"deleteall\n"
        for name, content in files.items():
            kind, _, path = name.rpartition(":")
            mode = modes.get(kind, "100644").encode()
            if kind == "module":
                script += b"M %s %s %s\n" % (mode, content, path.encode())
            else:
                script += b"M %s inline %s\ndata %d\n%s\n" % (mode, path.encode(), len(content), content)
        self.git("fast-import", "--quiet", stdin=script)
        return self.git("rev-parse", f"refs/heads/{branch}")


def make_remote(path: Path) -> Remote:
    path.mkdir(parents=True)
    remote = Remote(path)
    remote.git("init", "--quiet", "--bare", "--initial-branch=main")
    return remote


@pytest.fixture
def remote(tmp_path: Path) -> Remote:
    return make_remote(tmp_path / "remotes" / "presets.git")


Handler = http.server.BaseHTTPRequestHandler


@dataclass
class Site:
    """An HTTP server on this machine: answers as `behave` does, and notes the requests."""

    url: str = ""
    behave: Callable[[Handler], None] = lambda handler: handler.send_error(404)
    asked: list[tuple[str, dict[str, str], float]] = field(default_factory=list)

    @property
    def ranges(self) -> list[str]:
        return [headers.get("range", "") for _, headers, _ in self.asked]


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()

    class Answering(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.close_connection = True
            site.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}, time.monotonic()))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                site.behave(self)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    server.daemon_threads = True
    server.block_on_close = False
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield site
    server.shutdown()
    server.server_close()


def serve_git(root: Path) -> Callable[[Handler], None]:
    """Answer as git's own HTTP backend does for the repositories under a folder."""

    def behave(handler: Handler) -> None:
        path, _, query = handler.path.partition("?")
        size = int(handler.headers.get("content-length", 0))
        done = subprocess.run(
            ["git", "http-backend"],
            input=handler.rfile.read(size),
            capture_output=True,
            env={
                "PATH": os.environ["PATH"],
                "GIT_PROJECT_ROOT": str(root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": "safe.directory",
                "GIT_CONFIG_VALUE_0": "*",
                "REQUEST_METHOD": handler.command,
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "CONTENT_TYPE": handler.headers.get("content-type", ""),
                "CONTENT_LENGTH": str(size),
                "GIT_PROTOCOL": handler.headers.get("git-protocol", ""),
                "HTTP_CONTENT_ENCODING": handler.headers.get("content-encoding", ""),
            },
        )
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        handler.send_response(int(headers.pop("Status", "200").split()[0]))
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return behave


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that accepts every connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def fetched(source: RemoteSource, folder: Path, limits: Limits = QUICK) -> DownloadResult:
    return download.download(source, download.find_version(source, limits), folder, limits)


def files_in(folder: Path) -> dict[str, bytes]:
    """What was downloaded, by path, without the statement of its origin."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if name != download.STATEMENT}


def nothing_but(folder: Path, *names: str) -> bool:
    """Whether a folder holds these entries and nothing temporary."""
    return sorted(path.name for path in folder.iterdir()) == sorted(names) if folder.exists() else not names


def git_processes(mention: str) -> list[str]:
    listed = subprocess.run(["ps", "-A", "-o", "stat=,args="], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if mention in line and "git" in line and not line.startswith("Z")]


# ------------------------------------------------------------------------------------------------------------- sources


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ext::sh%20-c%20touch%20/tmp/x", "begins with one of https://"),
        ("ext::sh -c touch", "no spaces"),
        ("git://example.org/a", "begins with one of https://"),
        ("ftp://example.org/a.zip", "begins with one of https://"),
        ("git@github.com:a/b", "begins with one of https://"),
        ("/home/me/presets", "begins with one of https://"),
        ("file:presets", "begins with one of https://"),
        ("--upload-pack=touch", "begins with one of https://"),
        ("file://elsewhere/presets.git", "absolute path"),
        ("https:///no/host", "names a host"),
        ("ssh://-oProxyCommand=touch/x", "names a host"),
        ("https://example.org:port/a", "Port could not be cast"),
        ("https://me:secret@example.org/a", "can't hold a user or password"),
        ("https://token@example.org/a", "can't hold a user or password"),
        ("https://example.org/a\n", "control characters"),
        ("file:///home/me/bank.zip", "ingest reads one that is here already"),
        ("https://example.org/" + "a" * 2000, "at most 2000 characters"),
    ],
)
def test_an_address_that_can_not_be_used_is_refused(url: str, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        RemoteSource(url=url)


@pytest.mark.parametrize("ref", ["--upload-pack=x", "-x", "a b", "a..b", "a:b", "", "x^{tree}", "a\nb", "@{1}/x@{-1}"])
def test_a_ref_that_could_be_an_option_or_an_expression_is_refused(ref: str) -> None:
    with pytest.raises(ValidationError, match="branch or tag"):
        RemoteSource(url="https://example.org/a", ref=ref)


def test_every_source_has_a_folder_of_its_own() -> None:
    names = [
        RemoteSource(url="https://github.com/A/b.git").folder_name,
        RemoteSource(url="https://github.com/A/b", ref="v1/x").folder_name,
        RemoteSource(url="https://example.org/get?id=1", sha256="0" * 64).folder_name,
        RemoteSource(url="https://example.org/get?id=2", sha256="0" * 64).folder_name,
        RemoteSource(url="file:///../../x" + "y" * 300).folder_name,
        RemoteSource(url="file:///é").folder_name,
        RemoteSource(url="file:///è").folder_name,
        RemoteSource(url="file:///").folder_name,
        RemoteSource(url="http://127.0.0.1:8000/x").folder_name,
        RemoteSource(url="http://127.0.0.1:8001/x").folder_name,
    ]
    assert names[:2] == ["github.com-A-b", "github.com-A-b@v1-x"]
    assert len(set(names)) == len(names)
    assert all(0 < len(name) <= 100 and "/" not in name and name[0] not in ".-" for name in names)


def test_the_known_sources_are_valid() -> None:
    assert tuple(RemoteSource(**source.model_dump()) for source in KNOWN) == KNOWN


def test_sources_come_from_the_flag_the_environment_and_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse(DownloadPresets, []).sources == KNOWN
    table = '[[download-presets.sources]]\nurl = "https://example.org/a"\nref = "v1"\nlicence = "CC0-1.0"\n'
    Path("synthcore.toml").write_text(f"tier = 2\n[download-presets]\nstrict = true\n{table}")
    said = parse(DownloadPresets, [])
    assert said.strict
    assert said.sources == (RemoteSource(url="https://example.org/a", ref="v1", licence="CC0-1.0"),)
    assert said.output == tmp_path / "presets" / "community"
    assert parse(Generate, []).tier == 2  # this table isn't read
    monkeypatch.setenv("SYNTHCORE_DOWNLOAD_PRESETS_SOURCES", '[{"url": "https://example.org/b.zip"}]')
    assert [source.url for source in parse(DownloadPresets, []).sources] == ["https://example.org/b.zip"]
    flags = ["--sources", "https://example.org/c", "--sources", '{"url": "https://example.org/d", "licence": "MIT"}']
    assert [source.licence for source in parse(DownloadPresets, flags).sources] == ["none stated", "MIT"]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--sources", "nonsense"], "--sources 1: url: .*, not 'nonsense'"),
        (["--sources", "[]"], "--sources: takes 1 or more, not 0"),
        (["--sources", '[{"url": "https://example.org/a", "colour": 1}]'], "--sources 1: colour: is not a setting"),
        (["--sources", '["https://example.org/a", "https://example.org/a.git"]'], "the same folder"),
        (["--sources", '[{"url": "https://example.org/a", "licence": ""}]'], "licence"),
        (["--sources", '[{"url": "https://example.org/a.zip", "sha256": "12"}]'], "sha256"),
        (["--sources", '[{"url": "https://example.org/a.zip", "ref": "v1"}]'], "ref belongs to a repository"),
        (["--timeout", "0"], "--timeout: must be more than 0, not 0"),
    ],
)
def test_settings_that_make_no_sense_are_one_line(flags: list[str], says: str) -> None:
    with pytest.raises(SpecError, match=says) as refused:
        parse(DownloadPresets, flags)
    assert "\n" not in str(refused.value)


def test_a_table_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("synthcore.toml").write_text("download-presets = 3\n")
    with pytest.raises(SpecError, match="is not a table"):
        parse(DownloadPresets, [])


# -------------------------------------------------------------------------------------------------------- repositories


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["file", "http"])
def test_a_repository_becomes_a_folder_that_says_where_it_is_from(
    remote: Remote, site: Site, tmp_path: Path, protocol: str
) -> None:
    commit = remote.commit({"bass/deep.vital": PRESET, "naïve name.vital": PRESET, "README.md": b"hello\n"})
    site.behave = serve_git(remote.path.parent)
    source = RemoteSource(url=remote.url if protocol == "file" else f"{site.url}/presets.git", licence="CC0-1.0")
    sizes: list[int] = []
    with listening(sizes.append):
        found = fetched(source, tmp_path / "out" / "one")
    assert files_in(tmp_path / "out" / "one") == {
        "bass/deep.vital": PRESET,
        "naïve name.vital": PRESET,
        "README.md": b"hello\n",
    }
    said = json.loads((tmp_path / "out" / "one" / "synthcore-source.json").read_text())
    fetched_at = said.pop("fetched")
    assert said == {"repository": source.url, "commit": commit, "licence": "CC0-1.0"}
    assert fetched_at.endswith("+00:00")
    assert (found.commit, found.files, found.bytes) == (commit, 3, 2 * len(PRESET) + 6)
    assert found.is_intact()
    assert max(sizes) > 0
    assert nothing_but(tmp_path / "out", "one")


@pytest.mark.slow
def test_a_clone_is_shallow(remote: Remote, tmp_path: Path) -> None:
    remote.commit({"huge.bin": random.Random(0).randbytes(4_000_000)})
    remote.commit({"small.vital": PRESET})
    assert fetched(RemoteSource(url=remote.url), tmp_path / "out").files == 1  # the limit is 2 MB


@pytest.mark.slow
def test_a_ref_is_a_branch_a_tag_or_a_commit(remote: Remote, tmp_path: Path) -> None:
    first = remote.commit({"a.vital": b"first"})
    remote.git("-c", "user.name=x", "-c", "user.email=x", "tag", "-a", "-m", "x", "v1", first)
    remote.git("tag", "light", first)
    remote.commit({"a.vital": b"second"})
    remote.commit({"a.vital": b"other"}, branch="other/line")
    for ref, content in {
        None: b"second",
        "other/line": b"other",
        "v1": b"first",
        "light": b"first",
        first: b"first",
    }.items():
        fetched(RemoteSource(url=remote.url, ref=ref), tmp_path / "out")
        assert files_in(tmp_path / "out") == {"a.vital": content}
    with pytest.raises(DownloadError, match="no branch or tag 'v2'"):
        fetched(RemoteSource(url=remote.url, ref="v2"), tmp_path / "out")


def test_an_empty_repository_is_said_to_be_empty(remote: Remote, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="is empty"):
        fetched(RemoteSource(url=remote.url), tmp_path / "out")


def test_no_hook_and_no_filter_runs_and_every_file_is_its_committed_bytes(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    attributes = b"*.vital filter=lfs\n*.txt text eol=crlf\n*.md ident\n*.csv working-tree-encoding=UTF-16\n"
    content = {"a.vital": pointer, "a.txt": b"x\ny\n", "a.md": b"$Id$\n", "a.csv": b"x", ".gitattributes": attributes}
    remote.commit({**content, ".githooks/post-checkout": b"#!/bin/sh\n", "hooks/post-checkout": b"#!/bin/sh\n"})
    home = tmp_path / "home"
    (home / "hooks").mkdir(parents=True)
    for name in ("post-checkout", "reference-transaction"):
        (home / "hooks" / name).write_text(f"#!/bin/sh\ntouch {home}/ran\n")
        (home / "hooks" / name).chmod(0o755)
    (home / ".gitconfig").write_text(
        f'[core]\n\thooksPath = {home}/hooks\n\tautocrlf = true\n[filter "lfs"]\n\tsmudge = touch {home}/ran; cat\n'
        f"\tprocess = touch {home}/ran\n\trequired = true\n[init]\n\ttemplateDir = {home}\n"
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_TEMPLATE_DIR", str(home))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "someone-elses"))  # as in a git hook
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "someone-elses" / "index"))
    fetched(RemoteSource(url=remote.url), tmp_path / "out")
    found = files_in(tmp_path / "out")
    assert {name: found[name] for name in content} == content
    assert not (home / "ran").exists()
    assert not (tmp_path / "someone-elses").exists()


def test_links_and_submodules_lead_nowhere(remote: Remote, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    other = make_remote(tmp_path / "remotes" / "other.git")
    inner = other.commit({"inner.vital": PRESET})
    modules = f'[submodule "sub"]\n\tpath = sub\n\turl = {other.url}\n'.encode()
    remote.commit(
        {
            "link:out.vital": str(secret).encode(),
            "link:up": b"../../..",
            "link:synthcore-source.json": str(secret).encode(),
            "module:sub": inner.encode(),
            ".gitmodules": modules,
        }
    )
    fetched(RemoteSource(url=remote.url), tmp_path / "out" / "one")
    out = tmp_path / "out" / "one"
    assert not any(path.is_symlink() for path in out.rglob("*"))
    assert files_in(out) == {"out.vital": str(secret).encode(), "up": b"../../..", ".gitmodules": modules}
    assert secret.read_text() == "secret"


@pytest.mark.slow
def test_a_repository_can_not_say_itself_where_it_is_from(remote: Remote, tmp_path: Path) -> None:
    remote.commit({"synthcore-source.json": b'{"licence": "CC0-1.0"}', "a.vital": PRESET})
    fetched(RemoteSource(url=remote.url), tmp_path / "out")
    assert json.loads((tmp_path / "out" / "synthcore-source.json").read_text())["licence"] == "none stated"
    remote.commit({"synthcore-source.json/a.vital": PRESET})
    with pytest.raises(DownloadError, match="directory"):
        fetched(RemoteSource(url=remote.url), tmp_path / "out")
    assert nothing_but(tmp_path, "out", "remotes")


@pytest.mark.slow
def test_200_000_files_are_refused_before_one_is_written(remote: Remote, tmp_path: Path) -> None:
    blob = b"blob\nmark :1\ndata 2\n{}\n"
    files = b"".join(b"M 100644 :1 %03d/%03d.vital\n" % (i // 1000, i % 1000) for i in range(200_000))
    head = b"commit refs/heads/main\ncommitter x <x@x> 1700000000 +0000\ndata 1\nx\n"
    remote.git("fast-import", "--quiet", stdin=blob + head + files)
    with pytest.raises(DownloadError, match="holds 200,000 files, more than 1,000; --max-files"):
        fetched(RemoteSource(url=remote.url), tmp_path / "out" / "one", QUICK.model_copy(update={"max_megabytes": 100}))
    assert nothing_but(tmp_path / "out")


@pytest.mark.slow
def test_trees_of_trees_without_end_are_refused(remote: Remote, tmp_path: Path) -> None:
    """Ten files, in ten folders that are the same, in ten that are the same...: a few objects, 10^9 paths."""
    blob = remote.git("hash-object", "-w", "--stdin", stdin=b"{}")
    tree = remote.git("mktree", stdin="".join(f"100644 blob {blob}\tf{i}\n" for i in range(10)).encode())
    for _ in range(8):
        tree = remote.git("mktree", stdin="".join(f"040000 tree {tree}\td{i}\n" for i in range(10)).encode())
    identity = ("-c", "user.name=x", "-c", "user.email=x")
    remote.git("update-ref", "refs/heads/main", remote.git(*identity, "commit-tree", tree, "-m", "x"))
    with pytest.raises(DownloadError, match="doesn't end"):
        fetched(RemoteSource(url=remote.url), tmp_path / "out" / "one")
    assert nothing_but(tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize("content", [bytes(3_000_000), random.Random(0).randbytes(3_000_000)], ids=["zeros", "noise"])
def test_a_repository_larger_than_allowed_is_refused_while_it_is_packed(
    remote: Remote, tmp_path: Path, content: bytes
) -> None:
    remote.commit({"a.vital": content})
    with pytest.raises(DownloadError, match=r"more than 2 MB \(at least [23](,\d{3}){2} bytes\); --max-megabytes"):
        fetched(RemoteSource(url=remote.url), tmp_path / "out" / "one")
    assert nothing_but(tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["http", "ssh"])
def test_a_server_that_never_answers_costs_the_time_out_and_leaves_no_process(
    tmp_path: Path, silent: str, scheme: str
) -> None:
    hasty = QUICK.model_copy(update={"timeout": 1.0})
    source = RemoteSource(url=f"{scheme}://{silent}/presets.git")
    with pytest.raises(DownloadError, match="not done after 1 s; --timeout"):
        download.find_version(source, hasty)
    with pytest.raises(DownloadError, match="not done after 1 s; --timeout"):
        download.download(source, "0" * 40, tmp_path / "out" / "one", hasty)
    assert git_processes(silent) == []
    assert nothing_but(tmp_path / "out")


def test_a_redirect_to_a_file_is_not_followed(remote: Remote, site: Site, tmp_path: Path) -> None:
    remote.commit({"a.vital": PRESET})

    def redirect(handler: Handler) -> None:
        handler.send_response(302)
        handler.send_header("Location", f"{remote.url}/info/refs?service=git-upload-pack")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    site.behave = redirect
    with pytest.raises(DownloadError, match="can't be cloned"):
        fetched(RemoteSource(url=f"{site.url}/presets.git"), tmp_path / "out" / "one")
    assert nothing_but(tmp_path / "out")


def test_a_redirect_to_another_http_address_is_followed(remote: Remote, site: Site, tmp_path: Path) -> None:
    remote.commit({"a.vital": PRESET})
    backend = serve_git(remote.path.parent)

    def moved(handler: Handler) -> None:
        if handler.path.startswith("/presets.git"):
            return backend(handler)
        handler.send_response(301)
        handler.send_header("Location", f"{site.url}/presets.git{handler.path.removeprefix('/old')}")
        handler.send_header("Content-Length", "0")
        return handler.end_headers()

    site.behave = moved
    assert fetched(RemoteSource(url=f"{site.url}/old"), tmp_path / "out").files == 1


def test_nobody_is_asked_for_a_password(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asks = tmp_path / "ask"
    asks.write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\necho x\n")
    asks.chmod(0o755)
    monkeypatch.setenv("GIT_ASKPASS", str(asks))
    monkeypatch.setenv("SSH_ASKPASS", str(asks))

    def refuse(handler: Handler) -> None:
        handler.send_response(401)
        handler.send_header("WWW-Authenticate", 'Basic realm="presets"')
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    site.behave = refuse
    with pytest.raises(DownloadError, match="terminal prompts disabled"):
        fetched(RemoteSource(url=f"{site.url}/presets.git"), tmp_path / "out")
    assert not (tmp_path / "asked").exists()


def test_why_it_failed_is_one_printable_line(site: Site, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="does not appear to be a git repository") as failed:
        fetched(RemoteSource(url=f"file://{tmp_path}/nothing"), tmp_path / "out")
    assert str(failed.value).isprintable()


@pytest.mark.parametrize(
    ("printed", "reason"),
    [
        (b"remote: \x1b[31mred\x07\nfatal: no \x00luck\nfatal: b\n", "no luck"),
        (b"\xff\n", "\ufffd"),
        (b"", "git doesn't say why"),
    ],
)
def test_whatever_git_prints_why_it_failed_is_one_printable_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: bytes, reason: str
) -> None:
    (tmp_path / "printed").write_bytes(printed)
    fails = tmp_path / "bin" / "git"
    fails.parent.mkdir()
    fails.write_text(
        f'#!/bin/sh\n[ "$1" = version ] && exec {shutil.which("git")} version\ncat {tmp_path}/printed >&2\nexit 128\n'
    )
    fails.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fails.parent}:{os.environ['PATH']}")
    with pytest.raises(DownloadError, match=f"^can't be cloned: {reason}$"):
        download.find_version(RemoteSource(url="https://example.org/presets.git"), QUICK)


@pytest.mark.slow
def test_an_interrupt_leaves_no_folder_and_no_process(tmp_path: Path, silent: str) -> None:
    code = """
import sys
from pathlib import Path
from synthcore.ingest import download
from synthcore.ingest.remotes import RemoteSource
from synthcore.ingest.transfer import Limits
print("ready", flush=True)
download.download(RemoteSource(url=sys.argv[1]), "0" * 40, Path(sys.argv[2]), Limits())
"""
    out = tmp_path / "out" / "one"
    command = [sys.executable, "-c", code, f"http://{silent}/presets.git", str(out)]
    # What a shell starts in the background ignores Ctrl-C; these tests may run there.
    hears = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=hears)
    wait_until(lambda: any("remote-http" in line for line in git_processes(silent)))
    assert not nothing_but(tmp_path / "out")
    process.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in process.communicate()[1]
    assert git_processes(silent) == []
    assert nothing_but(tmp_path / "out")


def wait_until(holds: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# ------------------------------------------------------------------------------------------------------------ archives


def make_archive(size: int = 300_000) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("Someone/Presets/deep.vital", PRESET)
        file.writestr("noise.bin", random.Random(1).randbytes(size))
    return archive.getvalue()


ARCHIVE = make_archive()
ARCHIVE_SHA = hashlib.sha256(ARCHIVE).hexdigest()


@dataclass
class Offer:
    """Offers an archive, honours ranges, and cuts each connection after some bytes."""

    content: bytes = ARCHIVE
    tag: str = '"1"'
    cut_after: int | None = None
    knows_ranges: bool = True

    def __call__(self, handler: Handler) -> None:
        start = 0
        wish = handler.headers.get("range", "")
        if self.knows_ranges and wish and handler.headers.get("if-range", self.tag) == self.tag:
            start = int(wish.removeprefix("bytes=").removesuffix("-"))
            if start >= len(self.content):
                return handler.send_error(416)
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        else:
            handler.send_response(200)
        body = self.content[start:]
        if self.tag:
            handler.send_header("ETag", self.tag)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: self.cut_after])
        return None


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "BACK_OFF_SECONDS", BACK_OFF)


def bank(site: Site, **more: Any) -> RemoteSource:
    return RemoteSource(url=f"{site.url}/files/bank.vitalbank", **more)


def only_file(folder: Path) -> bytes:
    (content,) = files_in(folder).values()
    return content


@pytest.mark.parametrize("sha256", [None, ARCHIVE_SHA], ids=["any", "known hash"])
def test_an_archive_becomes_a_folder_that_says_where_it_is_from(site: Site, tmp_path: Path, sha256: str | None) -> None:
    site.behave = Offer()
    source = bank(site, licence="CC-BY-4.0", sha256=sha256)
    sizes: list[int] = []
    with listening(sizes.append):
        found = fetched(source, tmp_path / "out" / "one")
    assert files_in(tmp_path / "out" / "one") == {"presets.vitalbank": ARCHIVE}
    said = json.loads((tmp_path / "out" / "one" / "synthcore-source.json").read_text())
    assert (said["repository"], said["commit"], said["licence"]) == (source.url, f"sha256:{ARCHIVE_SHA}", "CC-BY-4.0")
    assert (found.files, found.bytes, found.is_intact()) == (1, len(ARCHIVE), True)
    assert sizes[-1] == len(ARCHIVE)
    assert len(site.asked) == (2 if sha256 is None else 1)  # a pinned one isn't looked up first


def test_a_version_is_what_the_server_knows_of_an_archive(site: Site) -> None:
    versions = set()
    for offer in (Offer(), Offer(tag='"2"'), Offer(tag=""), Offer(tag="", content=b"x")):
        site.behave = offer
        versions.add(download.find_version(bank(site), QUICK))
    assert len(versions) == 4
    assert download.find_version(bank(site, sha256=ARCHIVE_SHA), QUICK) == f"sha256:{ARCHIVE_SHA}"


def test_a_cut_connection_is_continued_where_it_was_cut(site: Site, tmp_path: Path) -> None:
    site.behave = Offer(cut_after=100_000)
    source = bank(site)
    archives.download(source, tmp_path / "bank", QUICK)
    assert (tmp_path / "bank").read_bytes() == ARCHIVE
    assert site.ranges == ["", "bytes=100000-", "bytes=200000-", "bytes=300000-"]


def test_a_file_that_changed_in_between_is_begun_anew(site: Site, tmp_path: Path) -> None:
    other = make_archive(250_000)

    def change(handler: Handler) -> None:
        Offer(cut_after=100_000)(handler)
        site.behave = Offer(other, tag='"2"')

    site.behave = change
    archives.download(bank(site), tmp_path / "bank", QUICK)
    assert (tmp_path / "bank").read_bytes() == other


@pytest.mark.slow
@pytest.mark.parametrize("offer", [Offer(tag="", cut_after=100_000), Offer(knows_ranges=False, cut_after=100_000)])
def test_what_can_not_be_continued_is_tried_from_the_beginning_a_few_times(
    site: Site, tmp_path: Path, offer: Offer
) -> None:
    site.behave = offer
    with pytest.raises(DownloadError, match=r"without sending complete message body.*\(5 tries\)"):
        archives.download(bank(site), tmp_path / "bank", QUICK)
    assert len(site.asked) == archives.TRIES


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_passing_failure_is_tried_again(site: Site, tmp_path: Path, status: int) -> None:
    def busy_twice(handler: Handler) -> None:
        handler.send_error(status) if len(site.asked) <= 2 else Offer()(handler)

    site.behave = busy_twice
    assert archives.download(bank(site), tmp_path / "bank", QUICK) == ARCHIVE_SHA
    assert len(site.asked) == 3


@pytest.mark.parametrize(
    ("wish", "seconds"),
    [
        ("7", 7.0),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0.0),
        *((nonsense, BACK_OFF) for nonsense in ("", "soon", "-1", "²")),
    ],
)
def test_a_server_is_given_the_time_it_asks_for(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wish: str, seconds: float
) -> None:
    def busy_once(handler: Handler) -> None:
        if len(site.asked) > 1:
            return Offer()(handler)
        handler.send_response(429)
        handler.send_header("Retry-After", wish)
        handler.send_header("Content-Length", "0")
        return handler.end_headers()

    site.behave = busy_once
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    archives.download(bank(site), tmp_path / "bank", QUICK)
    assert pauses == [seconds]
    assert len(site.asked) == 2


@pytest.mark.parametrize("said", ["3600", "Fri, 31 Dec 2100 23:59:59 GMT"])
def test_a_server_that_asks_for_too_much_time_is_given_up_at_once(site: Site, tmp_path: Path, said: str) -> None:
    def busy(handler: Handler) -> None:
        handler.send_response(503)
        handler.send_header("Retry-After", said)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    site.behave = busy
    with pytest.raises(DownloadError, match="answers 503 Service Unavailable; the next try would be in"):
        archives.download(bank(site), tmp_path / "bank", QUICK)
    assert len(site.asked) == 1


@pytest.mark.slow
def test_a_failure_that_lasts_is_given_up(site: Site, tmp_path: Path) -> None:
    site.behave = lambda handler: handler.send_error(500)
    with pytest.raises(DownloadError, match=r"answers 500 Internal Server Error \(5 tries\)"):
        fetched(bank(site), tmp_path / "out" / "one")
    site.asked.clear()
    site.behave = lambda handler: handler.send_error(404)
    with pytest.raises(DownloadError, match="answers 404 Not Found"):
        fetched(bank(site), tmp_path / "out" / "one")
    assert len(site.asked) == 1
    assert nothing_but(tmp_path / "out")


def test_a_wrong_checksum_is_named(site: Site, tmp_path: Path) -> None:
    site.behave = Offer()
    with pytest.raises(DownloadError, match=f"its sha256 is {ARCHIVE_SHA}, not 0000"):
        fetched(bank(site, sha256="0" * 64), tmp_path / "out" / "one")
    assert nothing_but(tmp_path / "out")


@pytest.mark.parametrize("content", [b"<html>Not found</html>", ARCHIVE[:-100], b""], ids=["page", "part", "nothing"])
def test_what_is_no_archive_is_refused(site: Site, tmp_path: Path, content: bytes) -> None:
    site.behave = Offer(content)
    with pytest.raises(DownloadError, match="isn.t an archive"):
        fetched(bank(site), tmp_path / "out" / "one")
    assert nothing_but(tmp_path / "out")


def redirect_to(address: str) -> Callable[[Handler], None]:
    def behave(handler: Handler) -> None:
        if handler.path == "/moved":
            return Offer()(handler)
        handler.send_response(302)
        handler.send_header("Location", address)
        handler.send_header("Content-Length", "0")
        handler.send_header("Connection", "close")  # as it does: who isn't told asks again on a connection that is gone
        return handler.end_headers()

    return behave


@pytest.mark.slow
def test_a_redirect_is_followed_to_http_only(site: Site, tmp_path: Path) -> None:
    site.behave = redirect_to("/moved")
    fetched(bank(site), tmp_path / "out" / "one")
    assert only_file(tmp_path / "out" / "one") == ARCHIVE
    (tmp_path / "bank.zip").write_bytes(ARCHIVE)
    for address in (f"file://{tmp_path}/bank.zip", "ftp://127.0.0.1/bank.zip", "gopher:x"):
        site.behave = redirect_to(address)
        with pytest.raises(DownloadError, match="not http or https"):
            fetched(bank(site), tmp_path / "out" / "two")
    for address, reason in (("http://[", ""), ("/files/round", "Exceeded maximum allowed redirects")):
        site.behave = redirect_to(address)
        with pytest.raises(DownloadError, match=f"can't be downloaded: {reason}"):
            fetched(bank(site), tmp_path / "out" / "two")
    assert nothing_but(tmp_path / "out", "one")


def test_a_size_that_is_announced_or_only_sent_is_refused(site: Site, tmp_path: Path) -> None:
    site.behave = Offer(bytes(3_000_000))
    with pytest.raises(DownloadError, match="more than 2 MB"):
        archives.download(bank(site), tmp_path / "bank", QUICK)
    assert (tmp_path / "bank").stat().st_size == 0

    def endless(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(bytes(100_000))

    site.behave = endless
    with pytest.raises(DownloadError, match="more than 2 MB"):
        archives.download(bank(site), tmp_path / "bank", QUICK)
    assert (tmp_path / "bank").stat().st_size <= 2_000_000


@pytest.mark.slow
def test_a_server_that_is_silent_or_drips_costs_the_time_out(site: Site, tmp_path: Path, silent: str) -> None:
    hasty = QUICK.model_copy(update={"timeout": 1.0})
    with pytest.raises(DownloadError, match="timed out"):
        archives.download(RemoteSource(url=f"http://{silent}/bank.zip"), tmp_path / "bank", hasty)

    def drip(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        while True:
            handler.wfile.write(b"x")
            time.sleep(0.1)

    site.behave = drip
    with pytest.raises(DownloadError, match="not done after 1 s"):
        archives.download(bank(site), tmp_path / "bank", hasty)


# ----------------------------------------------------------------------------------------------- folders and the report


@pytest.mark.slow
def test_a_folder_that_changed_is_not_intact(remote: Remote, tmp_path: Path) -> None:
    remote.commit({"a.vital": PRESET, "b/c.vital": PRESET})
    out = tmp_path / "out"
    source = RemoteSource(url=remote.url)

    def damage(change: Callable[[], Any]) -> bool:
        found = fetched(source, out)
        assert found.is_intact()
        change()
        return not found.is_intact()

    assert damage((out / "a.vital").unlink)
    assert damage(lambda: (out / "a.vital").write_bytes(PRESET[::-1]))
    assert damage(lambda: (out / "b" / "c.vital").rename(out / "c.vital"))
    assert damage(lambda: (out / "added.vital").write_bytes(b""))
    assert damage(lambda: (out / download.STATEMENT).write_text("{}"))
    assert damage(lambda: out.rename(tmp_path / "moved"))


def test_a_folder_that_was_not_downloaded_is_left_alone(remote: Remote, tmp_path: Path) -> None:
    remote.commit({"a.vital": PRESET})
    mine = tmp_path / "out" / "mine.vital"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    with pytest.raises(DownloadError, match="was not downloaded; move it away"):
        fetched(RemoteSource(url=remote.url), tmp_path / "out")
    assert files_in(tmp_path / "out") == {"mine.vital": b"mine"}
    mine.unlink()
    assert fetched(RemoteSource(url=remote.url), tmp_path / "out").is_intact()


@pytest.mark.slow
def test_a_failure_leaves_what_was_downloaded_before(remote: Remote, tmp_path: Path) -> None:
    remote.commit({"a.vital": PRESET})
    found = fetched(RemoteSource(url=remote.url), tmp_path / "out" / "one")
    remote.commit({"a.vital": bytes(3_000_000)})
    with pytest.raises(DownloadError, match="more than 2 MB"):
        fetched(RemoteSource(url=remote.url), tmp_path / "out" / "one")
    assert found.is_intact()
    assert nothing_but(tmp_path / "out", "one")


def test_a_folder_that_can_not_be_written_is_said(remote: Remote, tmp_path: Path) -> None:
    remote.commit({"a.vital": PRESET})
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError, match="can't be written"):
        fetched(RemoteSource(url=remote.url), tmp_path / "file" / "one")
    with pytest.raises(SpecError, match="can't write in .*file.*-o"):
        download.require_writable(tmp_path / "file")


def test_a_report_says_what_became_of_each_source_and_when_that_is_not_enough(tmp_path: Path) -> None:
    fine = Outcome(url="https://a", licence="MIT", state="downloaded", folder="/x", commit="1" * 40, files=2, bytes=3)
    lost = Outcome(url="https://b", licence="none stated", state="failed", folder=str(tmp_path), reason="is gone")
    text = DownloadReport(outcomes=(fine, lost)).to_text()
    assert "downloaded  https://a (licence: MIT)\n  /x: 2 files" in text
    assert f"failed      https://b is gone\n  {tmp_path} is left as it was" in text
    DownloadReport(outcomes=(fine, lost)).require_success(strict=False)
    for outcomes, strict, said in (((fine, lost), True, "1 of 2 sources"), ((lost,), False, "1 of 1 source")):
        with pytest.raises(IncompleteDownload, match=f"{said} failed: https://b is gone"):
            DownloadReport(outcomes=outcomes).require_success(strict=strict)


# ------------------------------------------------------------------------------------------------------------- the flow


@pytest.mark.long
def test_the_second_run_clones_nothing_and_a_new_commit_is_cloned(
    cli: Any, remote: Remote, site: Site, tmp_path: Path
) -> None:
    first = remote.commit({"a.vital": PRESET})
    git, offer = serve_git(remote.path.parent), Offer()
    site.behave = lambda handler: (offer if handler.path.startswith("/files/") else git)(handler)
    wrong = {"url": f"{site.url}/files/other.zip", "sha256": "0" * 64}
    sources = [f"{site.url}/presets.git", bank(site).url, f"file://{tmp_path}/gone.git", wrong]
    lost = ["failed", "failed"]
    flags = ("download-presets", "-o", "got", "--data-dir", "data", "--sources", json.dumps(sources))

    def states(*more: str) -> tuple[list[str], int]:
        site.asked.clear()
        report = cli.json(*flags, *more)
        clones = sum(path.endswith("/git-upload-pack") for path, headers, _ in site.asked)
        return [outcome["state"] for outcome in report["outcomes"]], clones

    made, requests_to_clone = states()
    assert made == ["downloaded", "downloaded", *lost]
    folder, archived, *_ = sorted((cli.folder / "got").iterdir(), key=lambda path: "bank" in path.name)
    assert json.loads((folder / "synthcore-source.json").read_text())["commit"] == first
    written = (folder / "a.vital").stat().st_mtime_ns

    again, requests_to_ask = states()
    assert again == ["unchanged", "unchanged", *lost]
    assert requests_to_ask < requests_to_clone
    assert (folder / "a.vital").stat().st_mtime_ns == written

    second = remote.commit({"a.vital": PRESET, "b.vital": PRESET})
    (archived / "presets.vitalbank").write_bytes(b"damaged")
    assert states()[0] == ["downloaded", "downloaded", *lost]
    assert json.loads((folder / "synthcore-source.json").read_text())["commit"] == second
    assert (archived / "presets.vitalbank").read_bytes() == ARCHIVE

    remote.git("update-ref", "refs/heads/main", first)  # its download is remembered, but the folder holds the second
    assert states()[0] == ["downloaded", "unchanged", *lost]
    assert files_in(folder) == {"a.vital": PRESET}

    done = cli.run(*flags, "--strict", "--json")
    assert done.returncode == 1
    assert [outcome["state"] for outcome in json.loads(done.stdout)["outcomes"]] == ["unchanged", "unchanged", *lost]
    assert "synthcore: 2 of 4 sources failed: file://" in done.stderr
    assert f"{site.url}/presets.git (licence: none stated)" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_ctrl_c_while_cloning_leaves_nothing(cli: Any, silent: str) -> None:
    source = json.dumps([{"url": f"http://{silent}/presets.git", "ref": "0" * 40}])
    process = cli.start("download-presets", "-o", "got", "--data-dir", "data", "--sources", source)
    wait_until(lambda: any("remote-http" in line for line in git_processes(silent)), seconds=120)
    process.send_signal(signal.SIGINT)
    _, complaints = process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in complaints
    assert git_processes(silent) == []
    assert nothing_but(cli.folder / "got")


@pytest.mark.slow
def test_an_unusable_source_or_folder_is_bad_input(cli: Any) -> None:
    (cli.folder / "file").write_text("")
    for flags, says in (
        (("--sources", "ext::sh"), "--sources 1: url: an address begins with one of https://"),
        (("-o", "file", "--sources", "https://127.0.0.1:9/a"), "can't write in"),
    ):
        done = cli.run("download-presets", *flags)
        assert done.returncode == 2
        assert says in done.stderr.splitlines()[-1]

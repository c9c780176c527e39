"""A web server that gives parts of files, counts what it is asked for, and fails on request; an S3; and strangers."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from synthcore.base.remote import _has_keys


@contextlib.contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """Answer whatever is asked with the same bytes; gives the port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer_all() -> None:
            with contextlib.suppress(OSError):  # closed below
                while True:
                    with listening.accept()[0] as caller:
                        caller.recv(4096)
                        caller.sendall(answer)

        thread = threading.Thread(target=answer_all, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


@dataclass
class FileServer:
    """One folder, served; and how.

    Attributes
    ----------
    asked : list of tuple
        Every GET so far, as the first and the last byte of the range.
    refuses : int
        The status of every answer, unless 0.
    has_ranges : bool
        Otherwise it gives whole files alone.
    dies_after : int or None
        After so many GETs, it cuts each answer short,
    lives_again_after : int or None
        until it has done so so often.
    only_for : str
        The value that the header Authorization must have, or none.
    meanwhile : callable
        What is done in the thread of each answer before it is given.
    """

    folder: Path
    port: int = 0
    asked: list[tuple[int, int]] = field(default_factory=list)
    refuses: int = 0
    has_ranges: bool = True
    dies_after: int | None = None
    lives_again_after: int | None = None
    only_for: str = ""
    meanwhile: Callable[[], None] = lambda: None
    cut: int = 0  #: how many answers were cut short

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}"

    @contextlib.contextmanager
    def counting(self) -> Iterator[list[tuple[int, int]]]:
        """Count the requests of a block alone."""
        before, self.asked = self.asked, []
        try:
            yield self.asked
        finally:
            self.asked = before + self.asked


def _handler(served: FileServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(with_body=False)

        def _answer(self, with_body: bool) -> None:
            served.meanwhile()
            path = served.folder / self.path.partition("?")[0].lstrip("/")
            status = served.refuses or (200 if path.is_file() else 404)
            if served.only_for and self.headers.get("Authorization") != served.only_for:
                status = 401
            if status >= 400:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            size = path.stat().st_size
            mark = f'"{path.stat().st_mtime_ns}"'
            if self.headers.get("If-Match", mark) != mark:
                self.send_error(412)
                return
            first, last = 0, size - 1
            if served.has_ranges and (found := re.match(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))):
                first, last, status = int(found[1]), min(int(found[2]), last), 206
            self.send_response(status)
            self.send_header("ETag", mark)
            if served.has_ranges:
                self.send_header("Accept-Ranges", "bytes")
            if status == 206:
                self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
            self.send_header("Content-Length", str(last + 1 - first))
            self.end_headers()
            if with_body:
                self._send(path, first, last)

        def _send(self, path: Path, first: int, last: int) -> None:
            served.asked.append((first, last))
            with path.open("rb") as file:
                file.seek(first)
                content = file.read(last + 1 - first)
            is_well = served.dies_after is None or served.cut == served.lives_again_after
            if not is_well and len(served.asked) > (served.dies_after or 0):
                served.cut += 1
                self.wfile.write(content[: len(content) // 2])
                self.close_connection = True
                return
            with contextlib.suppress(OSError):  # who asked has had enough
                self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: who asked may have gone."""


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[FileServer]:
    """Serve a folder for the length of a block."""
    served = FileServer(folder)
    server = _Server(("127.0.0.1", 0), _handler(served))
    served.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class S3Server:
    """A real S3 protocol on this machine, by moto, with an empty bucket named "bucket"."""

    def __init__(self, patched: pytest.MonkeyPatch) -> None:
        self.patched = patched
        self._server: Any = None
        self._port = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        from moto.server import ThreadedMotoServer

        self._server = ThreadedMotoServer("127.0.0.1", self._port, verbose=False)
        self._server.start()
        self._port = self._server.get_host_and_port()[1]

    def stop(self) -> None:
        self._server.stop()
        self._server = None

    def use(self, endpoint: str = "") -> None:
        """Let s3:// lead to a server, by default to this one."""
        from s3fs import S3FileSystem

        self.patched.setenv("AWS_ENDPOINT_URL", endpoint or self.endpoint)
        S3FileSystem.clear_instance_cache()

    @contextlib.contextmanager
    def counting(self) -> Iterator[list[str]]:
        """Note the requests of a block."""
        from werkzeug.serving import WSGIRequestHandler

        asked: list[str] = []

        def note(handler: Any, *_: Any) -> None:
            asked.append(f"{handler.command} {handler.path}")

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(WSGIRequestHandler, "log_request", note)
            yield asked


@contextlib.contextmanager
def s3_serving(patched: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """Serve a bucket for the length of a block."""
    import fsspec
    from s3fs import S3FileSystem

    for name, value in {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "word"}.items():
        patched.setenv(name, value)
    _has_keys.cache_clear()
    server = S3Server(patched)
    server.start()
    server.use()
    try:  # moto keeps what it has for all servers of a process
        urllib.request.urlopen(f"{server.endpoint}/moto-api/reset", data=b"").close()
        fsspec.filesystem("s3").mkdir("bucket")
        yield server
    finally:
        if server._server:
            server.stop()
        S3FileSystem.clear_instance_cache()
        _has_keys.cache_clear()

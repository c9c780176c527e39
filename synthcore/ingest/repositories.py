"""Clone strangers' repositories: git is watched, obeys nobody's configuration, and runs nothing of theirs.

GitPython's `Repo.clone_from` can't be watched, and a time-out leaves git's own children running. So git is given the
steps of a clone one by one, each in a process group that is ended as a whole.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from synthcore.base.counting import how_many
from synthcore.base.errors import DownloadError
from synthcore.base.masking import masked
from synthcore.ingest.remotes import RemoteSource
from synthcore.ingest.transfer import Limits, Watch

OLDEST_GIT = (2, 32)  #: the first that can be made to ignore all configuration
LONGEST_ANSWER = 32_000_000  #: bytes: a listing of 50,000 files with paths of 500 characters
LOOK_SECONDS = 0.2  #: between two looks at the disk
STALL_SECONDS = 60  #: without a byte, after which a server is given up before its time is up

# A pack stays a pack, however many files it holds; nothing runs on in the background; a symlink becomes a small file
# that holds its target, so that nothing in a folder of presets leads out of it.
_CONFIGURATION = {
    "core.hooksPath": os.devnull,
    "core.symlinks": "false",
    "core.fsmonitor": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "transfer.unpackLimit": "1",
    "submodule.recurse": "false",
    "advice.detachedHead": "false",
    "http.lowSpeedLimit": "1",
    "http.lowSpeedTime": str(STALL_SECONDS),
}
#: Overrides a repository's own attributes: a file is its committed bytes, through no filter (LFS), lines unchanged.
_ATTRIBUTES = "* -text -ident -filter !eol !working-tree-encoding\n"
# A redirect may lead from http to https or back, and to nothing else.
_ALLOWED = {"https": "https:http", "http": "https:http", "ssh": "ssh", "file": "file"}
_SSH = f"ssh -oBatchMode=yes -oConnectTimeout={STALL_SECONDS} -oServerAliveInterval={STALL_SECONDS // 3}"
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def find_commit(source: RemoteSource, limits: Limits) -> str:
    """Ask the remote which commit the source's ref points at; a ref that is a commit is its own answer.

    Raises
    ------
    DownloadError
        The remote doesn't answer, or has no such ref.
    """
    if source.ref and _COMMIT.fullmatch(source.ref):
        return source.ref
    wanted = [f"refs/heads/{source.ref}", f"refs/tags/{source.ref}^{{}}", f"refs/tags/{source.ref}"]
    names = wanted if source.ref else ["HEAD"]
    with tempfile.TemporaryDirectory() as folder:
        answer = _Git(source, Path(folder), Watch(limits)).run("ls-remote", "--", source.url, *names)
    lines = answer.decode(errors="replace").splitlines()
    commits = {name: commit for commit, _, name in (line.partition("\t") for line in lines)}
    for name in names:  # an annotated tag's commit is listed under ^{}
        if _COMMIT.fullmatch(commits.get(name, "")):
            return commits[name]
    if source.ref:
        raise DownloadError(f"has no branch or tag {source.ref!r}; a commit is named by all its 40 digits")
    raise DownloadError("is empty, or has no main branch: name one with ref")


def clone(source: RemoteSource, commit: str, folder: Path, limits: Limits) -> None:
    """Put the files of one commit into an empty folder: no history, no submodules, no repository.

    Raises
    ------
    DownloadError
        git failed, or the files are too many, too large or too slow.
    """
    watch = Watch(limits)
    git = _Git(source, folder, watch)
    git.run("init", "--quiet", "--template=")
    attributes = folder / ".git" / "info" / "attributes"
    attributes.parent.mkdir(exist_ok=True)
    attributes.write_text(_ATTRIBUTES)
    git.run("fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--", source.url, commit)
    _require_few(git.run("ls-tree", "-r", "-l", "-z", "--full-tree", commit), watch)
    git.run("checkout", "--quiet", "--force", "--detach", commit)
    shutil.rmtree(folder / ".git")


def _require_few(listing: bytes, watch: Watch) -> None:
    """Refuse too many or too large files while they are still packed."""
    sizes = [entry.split(b"\t", 1)[0].split()[3] for entry in listing.split(b"\0")[:-1]]
    if len(sizes) > watch.limits.max_files:
        raise DownloadError(
            f"holds {how_many(len(sizes), 'file')}, more than {watch.limits.max_files:,}; --max-files allows more"
        )
    watch.require_size(sum(int(size) for size in sizes if size != b"-"))  # a submodule has none


class _Git:
    """git at work in one folder, for one source."""

    def __init__(self, source: RemoteSource, folder: Path, watch: Watch) -> None:
        try:
            from git import Git  # looks for git when it is imported
        except ImportError as error:
            raise DownloadError(f"can't be cloned: git is not installed ({_version()} or newer)") from error
        self._git = Git(folder)
        if self._git.version_info < OLDEST_GIT:
            raise DownloadError(f"can't be cloned: git is older than {_version()}; install a newer one")
        self._watch = watch
        self._packed = folder / ".git"
        self._environment = {
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_PARAMETERS": "",
            "GIT_CONFIG_COUNT": "0",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_LFS_SKIP_SMUDGE": "1",
            "GIT_ALLOW_PROTOCOL": _ALLOWED[urlsplit(source.url).scheme],
            # Never prompt for a password: what needs one fails.
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "",
            "SSH_ASKPASS": "",
            "GIT_SSH_COMMAND": _SSH,
            # Set, because they may be set for another repository already: within git's hooks they are.
            "GIT_DIR": str(self._packed),
            "GIT_WORK_TREE": str(folder),
            "GIT_INDEX_FILE": str(self._packed / "index"),
            "GIT_OBJECT_DIRECTORY": str(self._packed / "objects"),
        }

    def run(self, *arguments: str) -> bytes:
        """Run one command of git to its end, and return what it printed.

        Raises
        ------
        DownloadError
            It failed, printed too much, or reached its limits. Nothing that it started is left running.
        """
        settings = [word for name, value in _CONFIGURATION.items() for word in ("-c", f"{name}={value}")]
        command = ["git", *settings, *arguments]
        started = self._git.execute(command, as_process=True, env=self._environment, start_new_session=True)
        process: subprocess.Popen[bytes] = started.proc  # type: ignore[assignment]  # it was just started
        try:
            printed, complaints = self._read(process)
        finally:
            _end(process)
        if process.returncode:
            raise DownloadError(f"can't be cloned: {_reason(complaints)}")
        return printed

    def _read(self, process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
        """Read both pipes to their ends while watching the disk and the clock."""
        assert process.stdout is not None and process.stderr is not None  # noqa: PT018
        pipes: dict[Any, bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
        looked = time.monotonic()
        with selectors.DefaultSelector() as selector:
            for pipe in pipes:
                selector.register(pipe, selectors.EVENT_READ)
            while selector.get_map():
                for key, _ in selector.select(timeout=LOOK_SECONDS):
                    _take(key.fileobj, pipes, selector)
                if time.monotonic() - looked >= LOOK_SECONDS:
                    self._watch.follow(_size(self._packed))
                    looked = time.monotonic()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=self._watch.seconds_left)
        self._watch.follow(_size(self._packed))
        return bytes(pipes[process.stdout]), bytes(pipes[process.stderr])


def _take(pipe: Any, pipes: dict[Any, bytearray], selector: selectors.BaseSelector) -> None:
    block = os.read(pipe.fileno(), 1 << 16)
    if not block:
        selector.unregister(pipe)
    pipes[pipe] += block
    if len(pipes[pipe]) > LONGEST_ANSWER:
        raise DownloadError("isn't a repository of presets: the list of its files or branches doesn't end")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End git and everything it started, if it hasn't ended by itself."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # the latter is macOS's for a group that has ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe:
            pipe.close()


def _size(folder: Path) -> int:
    """Add up the bytes of the files in a folder, some of which may go while they are counted."""
    size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                size += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118
    return size


def _reason(complaints: bytes) -> str:
    """Pick the line with the reason from what git and the remote printed, which may be anything."""
    lines = ["".join(c for c in line if c.isprintable()) for line in complaints.decode(errors="replace").splitlines()]
    printed = [line for line in lines if line.strip()]
    fatal = [line.removeprefix("fatal: ") for line in printed if line.startswith("fatal: ")]
    return masked((fatal or printed or ["git doesn't say why"])[0])[:300]


def _version() -> str:
    return ".".join(map(str, OLDEST_GIT))

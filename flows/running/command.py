"""What every command has in common: flags read, errors turned into one line and an exit code, results printed.

Exit codes: 0 for success, 1 when a dataset or a render failed, 2 for input that a person can correct, 130 after Ctrl-C.
"""

from __future__ import annotations

import time

_began = [time.monotonic()]  # of this process, before anything else is imported; its first command takes it

import contextlib
import errno
import gc
import itertools
import os
import shutil
import signal
import sys
import textwrap
import unicodedata
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any

from synthcore.base.errors import ServerGone, SynthcoreError
from synthcore.pipeline.laps import began

if TYPE_CHECKING:  # --version and --help do without
    from pydantic import BaseModel

FAILED, INTERRUPTED = 1, 130
#: Commands that keep what they have done, and continue from there.
CONTINUED = (
    *("generate", "download-presets", "ingest", "compute-weights", "features", "compare", "evaluate", "match"),
    "publish",
)
#: Errors of a path for which the system won't even say whether it exists.
UNUSABLE_PATH = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG)

Act = Callable[[Any], int]  #: what a command does with its settings; gives the exit code


def exit_code_of(command: str, work: Callable[[], int]) -> int:
    """Do what a command is for; turn whatever goes wrong into one line on stderr and an exit code."""
    began.set(_began.pop() if _began else time.monotonic())
    try:
        return work()
    except SynthcoreError as error:
        return complain(error, error.exit_code)
    except ImportError as error:  # of a library that is damaged or missing: ours are tested
        return complain(f"the installation is damaged: {error}; make setup installs it again", FAILED)
    except MemoryError:
        return complain("out of memory: end other programs, or raise the limit (ulimit -v, ulimit -d)", FAILED)
    except KeyboardInterrupt:
        return _interrupted(command)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.filename is None or error.errno not in UNUSABLE_PATH:
            raise
        return complain(f"can't use {error.filename}: {error.strerror}; name another place", SynthcoreError.exit_code)


def run(command: str, act: Act, words: list[str]) -> int:
    """Read a command's flags and do what they ask for; or print its help.

    Parameters
    ----------
    command : str
        As it is typed. Its settings are imported only now.
    act : callable
        What it does.
    words : list of str
        What was typed after the command.
    """
    from pydantic_core import PydanticSerializationError

    from synthcore.settings.commands import help_of, model_of, parse

    model = model_of(command)
    if {"-h", "--help"} & set(itertools.takewhile(lambda word: word != "--", words)):
        sys.stdout.write(help_of(model))
        return 0
    try:
        settings = parse(model, words, lambda line: say(f"synthcore: {line}"))
        if remark := getattr(settings, "remark", ""):
            say(remark)
        code = act(settings)
    except PydanticSerializationError as error:
        if KeyboardInterrupt.__name__ not in str(error):  # what pydantic makes of a Ctrl-C while it is at work
            raise
        return _interrupted(command)
    sys.stdout.flush()
    return code


def complain(what: object, code: int) -> int:
    """Say in one line what is wrong, and give back the exit code."""
    say(f"synthcore: {what}")
    return code


def say(line: str) -> None:
    """Write a line to stderr; on a terminal, wrapped where that is narrower."""
    text = printable(line)
    sys.stderr.write((fit(text, shutil.get_terminal_size().columns) if sys.stderr.isatty() else text) + "\n")


def fit(text: str, width: int) -> str:
    """Wrap each line of a text to the width of a terminal, never within a path or an address."""
    wrapper = textwrap.TextWrapper(width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return "\n".join(wrapper.fill(line) if len(line) > width else line for line in text.split("\n"))


def tell(report: Any, *, as_json: bool) -> None:
    """Write a result to stdout, as text or as JSON."""
    sys.stdout.write(report.model_dump_json() + "\n" if as_json else printable(report.to_text()))


def tell_each(reports: list[Any], *, as_json: bool) -> None:
    """Write one result, or several: as JSON still one document."""
    if as_json and len(reports) > 1:
        sys.stdout.write(f"[{','.join(report.model_dump_json() for report in reports)}]\n")
        return
    for report in reports:
        tell(report, as_json=as_json)


def printable(text: str) -> str:
    """Replace characters that control a terminal: a name in a file may be anybody's."""
    controls = {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs")} - {"\n"}
    return text.translate({ord(c): "\N{REPLACEMENT CHARACTER}" for c in controls})


@contextlib.contextmanager
def prefect_ready(*, keep: bool | None = None) -> Iterator[None]:
    """Have a Prefect server ready at the end of the block. Only within it may a flow be imported."""
    # The run speaks for itself here; Prefect's own log goes to its server. Set the variable to see it as well.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_LOGGING_INTERNAL_LEVEL", "CRITICAL")  # each event that a server doesn't take
    if "prefect" in sys.modules:  # a flow's file imported it before it came here
        from prefect.logging.configuration import setup_logging

        setup_logging()
    gc.disable()  # importing makes half a million objects, and none of them is garbage
    try:
        from synthcore.flows.running import environment
        from synthcore.flows.running.form import settings_from
        from synthcore.settings.command import Common

        say(environment.prepare(keep=settings_from(Common, {}).keep if keep is None else keep))
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does: children and server with it
        environment.on_server_gone = _leave
        yield
        if environment.is_starting():
            say("waiting for the server to start")
        environment.require_ready()
    finally:
        gc.freeze()  # they all stay: scanning them takes 0.3 s, before the first task and every now and then
        gc.enable()


def call_flow(flow: Callable[..., Any], settings: BaseModel, without: Collection[str] = ()) -> Any:
    """Run a flow with a command's settings; end at once if the server that it reports to goes away."""
    from synthcore.flows.running import environment

    names = type(settings).model_fields.keys() - {"as_json", "keep", *without}
    with environment.server_needed(), environment.own_server_watched(_leave):
        return flow(**{name: getattr(settings, name) for name in names})


def _interrupted(command: str) -> int:
    hint = "; run the same command again to continue" if command in CONTINUED else ""
    return complain(f"interrupted{hint}", INTERRUPTED)


def _leave(gone: ServerGone) -> None:
    """End at once: otherwise Prefect tries for minutes to report each task's state to a server that is gone."""
    from synthcore.engine import lending, stopping

    stopping.stop()
    time.sleep(5 * stopping.POLL_SECONDS)  # for renders to clear away what they have half written
    lending.end_zygotes()
    complain(gone, gone.exit_code)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(gone.exit_code)

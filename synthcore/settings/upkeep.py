"""The settings of commands that look after a machine: its cache, its Prefect server, its shell."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from synthcore.base.databases import NamedDatabase
from synthcore.base.quantities import Hours, Typed
from synthcore.settings.command import FILE, AbsolutePath, Cached, Command
from synthcore.settings.commandline import Positional


class CacheCommand(Cached):
    """List what is in the data directory, remove what no run would find again, or check every shard.

    list says size, age and spec of what is cached, and whether a run would find it. prune removes half-written files,
    shards without a record, and records of what is gone; never a dataset, nor a shard that one refers to. verify
    exits with 1 when a shard is damaged; a run that needs it renders it again.
    """

    command = "cache"
    examples = {"dry_run": "prune --dry-run", "older_than": "prune --older-than 7d"}

    action: Annotated[Literal["list", "prune", "verify"], Positional()] = Field(description="What to do.")
    older_than: Hours = Field(1.0, ge=0, description="prune: keep what is newer; a bare number is in hours.")
    spec: Annotated[str, Typed("FINGERPRINT", "3fa9c1")] = Field(
        "", pattern="^[0-9a-f]*$", description="prune: also every shard of this spec; list shows fingerprints."
    )
    other_engines: bool = Field(
        False, description="prune: also what another synth, machine or version made; it may be in use there."
    )
    dry_run: bool = Field(False, description="prune: only say what would be removed.")


class Doctor(Cached):
    """Say what is wrong with this installation or a data directory, and what to do.

    It checks the system, the packages, the synth (which renders a note twice), Prefect and its server, and every
    cached shard. Exits with 1 when something stands in the way of a run.
    """

    command = "doctor"
    examples = {"repair": "--repair"}

    repair: bool = Field(
        False,
        description="Remove what is provably stale: files that a killed run left half-written, damaged shards, "
        "records of what is gone. A run that needs them makes them again.",
    )


class Deploy(Command):
    """Write our deployments into a folder of yours, where prefect deploy reads them.

    Workers that run them need synthcore installed, but no checkout of it. Relative paths start in that folder.
    """

    command = "deploy"
    examples = {"pool": "--pool mine", "output": "-o deployments.yaml"}

    pool: Annotated[str, Typed("POOL")] = Field(
        "local",
        pattern=r"^[^/%&<>]+$",
        description="Work pool that all of them run in; render-shards is named after it.",
    )
    output: Annotated[AbsolutePath, FILE] = Field(
        Path(),
        description="The file to write, or the folder for it. A different prefect.yaml there is left alone, and "
        "synthcore-prefect.yaml written beside it.",
    )


class Up(Command):
    """Keep a Prefect server, all deployments and workers running in the background; down ends them.

    A server that already answers at the port is used, and left alone by down. What is already running stays as it is.
    """

    command = "up"
    examples = {"port": "--port 4201", "database": "--database postgresql://me@host/prefect"}

    port: Annotated[int, Typed("PORT")] = Field(
        4200, ge=1, le=65_535, description="Port of the Prefect server, for this machine alone."
    )
    database: NamedDatabase = Field(
        None,
        description="PostgreSQL or SQLite database of the server. By default a file of SQLite in Prefect's home, which "
        "serves a few runs at once. A flag shows in lists of processes: put a password into the variable.",
    )


class Down(Command):
    """End what up started: the workers with their runs, then the server; and the server that other commands share.

    Nothing on disk is lost, and the next command starts a server again.
    """

    command = "down"


class Completion(Command):
    """Print a script that makes a shell complete commands, flags and their values. Its first lines say where it goes.

    It is made for this version: print it again after an update.
    """

    command = "completion"

    shell: Annotated[Literal["bash", "zsh", "fish"], Positional()] = Field(description="The shell.")

"""The command line: `synthcore COMMAND`. Each command is a settings model, and a function that carries it out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from synthcore.flows.running.command import Act, exit_code_of, run
from synthcore.flows.running.flow_commands import with_flow
from synthcore.flows.running.local_commands import (
    run_cache,
    run_deploy,
    run_diff,
    run_doctor,
    run_down,
    run_export,
    run_inspect,
    run_recipe,
    run_render,
    run_up,
    run_verify,
)

if TYPE_CHECKING:  # --version and --help do without
    from synthcore.settings.datasets import Inspect
    from synthcore.settings.upkeep import Completion

USAGE = """usage: synthcore COMMAND ...

Datasets of (audio, parameters) pairs for inverse synthesis with Vital.

make
  generate          make a dataset, or continue one
  recipe            write a dataset without audio and other people's assets
  render            make a dataset again from its recipe
look and use
  inspect           say what is in a dataset
  diff              say what two datasets share, and what differs
  compare           say how near its rows come to other sounds
  match             find presets that sound like a sound, or search for one
  evaluate          say how good answers to its rows are
  verify            render rows again from their labels, and compare bit for bit
  export            write rows as a .wav and a .vital preset
  compute-weights   measure how much each control moves the sound
  features          keep log-mel spectra and sketches beside the audio
share
  publish           write a dataset as Parquet or WebDataset, with a card
  import            make a dataset again from a published folder
presets and wavetables
  download-presets  download the presets of public repositories and archives
  ingest            read presets into one file of patches
  discover-wt       make a catalog of the wavetables on this machine
  fit-priors        fit priors to presets: draw patches like those people make
this machine
  doctor            say what is wrong here, and what to do
  deploy            write our deployments into a project of yours
  cache             list, prune or verify what is cached on disk
  up, down          keep a server, deployments and workers running; stop them
  completion        print what makes a shell complete commands and flags

synthcore COMMAND --help lists a command's flags. To begin:

  synthcore generate -n 256 -o demo.h5
  synthcore inspect demo.h5
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the process's exit code: 0, 1, 2 or 130, see `synthcore.flows.running.command`."""
    words = sys.argv[1:] if arguments is None else arguments
    return exit_code_of(words[0] if words else "", lambda: _run(words))


def _run(words: list[str]) -> int:
    from synthcore.base.errors import SynthcoreError

    if sys.platform == "win32":
        raise SynthcoreError("Vital is forked for every render, which Windows can't: run synthcore in WSL")
    if not words or words[0] in ("-h", "--help", "help"):
        sys.stdout.write(USAGE)
        return 0
    if words[0] == "--version":
        from synthcore import __version__

        sys.stdout.write(f"synthcore {__version__}\n")
        return 0
    if words[0] not in COMMANDS:
        from synthcore.base.spelling import meant

        near = meant(words[0], COMMANDS) or f"; there are {', '.join(COMMANDS)}"
        raise SynthcoreError(f"there is no command {words[0]!r}{near}")
    return run(words[0], COMMANDS[words[0]], words[1:])


def inspect_or_compare(settings: Inspect) -> int:
    """Say what is in a dataset; by its flow if that compares it as well, because sketches are cached by tasks."""
    return with_flow("inspect", _inspect_dataset)(settings) if settings.near else run_inspect(settings)


def run_completion(settings: Completion) -> int:
    """Print a script for a shell."""
    import json

    from synthcore.settings import completion
    from synthcore.settings.commands import models

    script = completion.script(settings.shell, {model.command: model for model in models()})
    sys.stdout.write(json.dumps({"shell": settings.shell, "script": script}) + "\n" if settings.as_json else script)
    return 0


def _generate() -> Callable[..., Any]:
    from synthcore.flows.generate import generate

    return generate


def _fit_priors() -> Callable[..., Any]:
    from synthcore.flows.fit_priors import fit_priors

    return fit_priors


def _discover_wavetables() -> Callable[..., Any]:
    from synthcore.flows.discover_wavetables import discover_wavetables

    return discover_wavetables


def _download_presets() -> Callable[..., Any]:
    from synthcore.flows.download_presets import download_presets

    return download_presets


def _ingest_presets() -> Callable[..., Any]:
    from synthcore.flows.ingest_presets import ingest_presets

    return ingest_presets


def _compute_weights() -> Callable[..., Any]:
    from synthcore.flows.compute_weights import compute_weights

    return compute_weights


def _compute_features() -> Callable[..., Any]:
    from synthcore.flows.compute_features import compute_features

    return compute_features


def _publish() -> Callable[..., Any]:
    from synthcore.flows.publish_dataset import publish

    return publish


def _import_dataset() -> Callable[..., Any]:
    from synthcore.flows.import_dataset import import_dataset

    return import_dataset


def _inspect_dataset() -> Callable[..., Any]:
    from synthcore.flows.inspect_dataset import inspect_dataset

    return inspect_dataset


def _compare() -> Callable[..., Any]:
    from synthcore.flows.compare_datasets import compare

    return compare


def _match() -> Callable[..., Any]:
    from synthcore.flows.match_sound import match

    return match


def _evaluate() -> Callable[..., Any]:
    from synthcore.flows.evaluate_answers import evaluate

    return evaluate


#: What each command does. Its settings have their home in `synthcore.settings.commands`.
COMMANDS: dict[str, Act] = {
    "generate": with_flow("generate", _generate),
    "inspect": inspect_or_compare,
    "diff": run_diff,
    "compare": with_flow("compare", _compare),
    "match": with_flow("match", _match),
    "evaluate": with_flow("evaluate", _evaluate),
    "verify": run_verify,
    "discover-wt": with_flow("discover-wt", _discover_wavetables),
    "fit-priors": with_flow("fit-priors", _fit_priors),
    "download-presets": with_flow("download-presets", _download_presets),
    "ingest": with_flow("ingest", _ingest_presets),
    "compute-weights": with_flow("compute-weights", _compute_weights),
    "features": with_flow("features", _compute_features),
    "publish": with_flow("publish", _publish),
    "import": with_flow("import", _import_dataset),
    "recipe": run_recipe,
    "render": run_render,
    "export": run_export,
    "cache": run_cache,
    "doctor": run_doctor,
    "deploy": run_deploy,
    "up": run_up,
    "down": run_down,
    "completion": run_completion,
}

if __name__ == "__main__":
    sys.exit(main())

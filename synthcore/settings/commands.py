"""The commands: the model of each, by the word behind synthcore. Only that of the command which is run is imported."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from synthcore.settings.common import Command

#: In the order in which people are told of them: the module in this folder, and the model in it.
HOMES = {
    "generate": ("generate", "Generate"),
    "inspect": ("datasets", "Inspect"),
    "verify": ("datasets", "Verify"),
    "discover-wt": ("ingestion", "DiscoverWavetables"),
    "download-presets": ("ingestion", "DownloadPresets"),
    "ingest": ("ingestion", "Ingest"),
    "compute-weights": ("datasets", "ComputeWeights"),
    "recipe": ("datasets", "WriteRecipe"),
    "render": ("datasets", "RenderRecipe"),
    "export": ("datasets", "Export"),
    "cache": ("upkeep", "CacheCommand"),
    "doctor": ("upkeep", "Doctor"),
    "deploy": ("upkeep", "Deploy"),
    "up": ("upkeep", "Up"),
    "down": ("upkeep", "Down"),
    "completion": ("upkeep", "Completion"),
}


def model_of(command: str) -> type[Command]:
    """Import the settings of one command.

    Raises
    ------
    KeyError
        There is no such command.
    """
    module, name = HOMES[command]
    model: type[Command] = getattr(import_module(f"{__package__}.{module}"), name)
    return model


def models() -> Iterator[type[Command]]:
    """Import the settings of every command."""
    yield from map(model_of, HOMES)

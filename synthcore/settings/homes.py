"""Where the settings of each command are, so that only those of the command that is run are imported."""

#: The module in this folder and the model in it, by the word behind synthcore; in the order of lists of commands.
HOMES = {
    "generate": ("generate", "Generate"),
    "inspect": ("datasets", "Inspect"),
    "diff": ("datasets", "Diff"),
    "compare": ("datasets", "Compare"),
    "match": ("matching", "Match"),
    "evaluate": ("evaluation", "Evaluate"),
    "verify": ("datasets", "Verify"),
    "discover-wt": ("ingestion", "DiscoverWavetables"),
    "fit-priors": ("ingestion", "FitPriors"),
    "download-presets": ("ingestion", "DownloadPresets"),
    "ingest": ("ingestion", "Ingest"),
    "compute-weights": ("datasets", "ComputeWeights"),
    "features": ("datasets", "Features"),
    "publish": ("publishing", "Publish"),
    "import": ("publishing", "Import"),
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

"""Fit priors to presets: ingest-presets (cached) -> fit -> a file of priors, and what it says.

`python flows/fit_priors.py --help` lists its flags; `synthcore fit-priors` is the same.
"""

from __future__ import annotations

import sys
from pathlib import Path

from synthcore.flows.running import environment

environment.prepare()  # Prefect reads its surroundings once, when it is imported

from prefect import flow

from synthcore.base.places import require_places
from synthcore.flows.ingest_presets import ingest_presets
from synthcore.flows.running.form import parameters_of
from synthcore.pipeline import library
from synthcore.pipeline.continuing import require_writable
from synthcore.settings.ingestion import FitPriors
from synthcore.sources.fitting import FittedPriors, fit_priors_file


@flow(name="fit-priors", flow_run_name="fit priors {output}")
@parameters_of(FitPriors)
def fit_priors(settings: FitPriors) -> FittedPriors:
    """Fit a file of priors to what people do in folders of presets.

    Returns
    -------
    FittedPriors
        The file, and what it was fitted from.

    Raises
    ------
    SpecError
        A folder is missing, there are too few presets, or the file can't be written.
    Accident
        A preset met with accident after accident (a kill, a time-out, a lost process).
    SynthcoreError
        The disk is full.
    """
    require_places(settings.data_dir)
    require_writable(settings.output_path)
    collection = library.collection_of(settings.folders, False, settings.approximate, settings.data_dir)
    made = ingest_presets(
        folders=settings.folders,
        output=collection,
        approximate=settings.approximate,
        workers=settings.workers,
        data_dir=settings.data_dir,
    )
    presets = library.given_collection(Path(made.collection), settings.data_dir)
    return fit_priors_file(presets, settings.output_path)


if __name__ == "__main__":
    from synthcore.flows.running.flow_commands import run_file

    sys.exit(run_file("fit-priors", fit_priors))

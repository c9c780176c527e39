"""Make a wavetable catalog: places to search -> catalog_wavetables (cached) -> where it is, and what is in it.

`python flows/discover_wavetables.py --help` lists its flags; `synthcore discover-wt` is the same.
"""

from __future__ import annotations

import sys

from synthcore.flows.running import environment

environment.prepare()  # Prefect reads its surroundings once, when it is imported

from prefect import flow

from synthcore.base.places import require_places
from synthcore.engine.capacity import RENDERERS
from synthcore.engine.lending import at_most
from synthcore.engine.stopping import interruptible
from synthcore.flows.running.form import parameters_of
from synthcore.ingest.wavetables import CatalogRef, places_to_search
from synthcore.pipeline.continuing import require_writable
from synthcore.settings.ingestion import DiscoverWavetables
from synthcore.tasks.catalog import catalog_wavetables
from synthcore.tasks.intact import run_intact
from synthcore.vital.folders import vital_folders


@flow(name="discover-wavetables", flow_run_name="discover wavetables")
@parameters_of(DiscoverWavetables)
def discover_wavetables(settings: DiscoverWavetables) -> CatalogRef:
    """Make a catalog of the built-in wavetables, and of those in Vital's folders and in the folders and files given.

    Returns
    -------
    CatalogRef
        Where the catalog is, and what was found.

    Raises
    ------
    SpecError
        A folder or file is missing, or the catalog can't be written.
    SynthcoreError
        The disk is full.
    Accident
        The synth met with accident after accident (a kill, a time-out, a lost process).
    """
    require_places(settings.data_dir)
    require_writable(settings.output_path)
    places = places_to_search(vital_folders(), requested=(*settings.extra_dir, *settings.extra_file))

    catalog = catalog_wavetables.with_options(result_storage=settings.results_dir, refresh_cache=settings.refresh)
    with interruptible(), at_most(RENDERERS):
        return run_intact(catalog, places, settings.output_path, RENDERERS)


if __name__ == "__main__":
    from synthcore.flows.running.flow_commands import run_file

    sys.exit(run_file("discover-wt", discover_wavetables))

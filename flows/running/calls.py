"""The flows as Python calls them: `synthcore.generate(...)`. Each is imported when it is called or looked into.

So `from synthcore import generate` doesn't import Prefect or call a server. Called in another flow, it is a subflow.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True, slots=True)
class LazyFlow:
    """Stands in for a flow, with all that the flow has: `generate(...)`, `generate.with_options(...)`."""

    _module: str
    _name: str

    def __call__(self, *arguments: Any, **parameters: Any) -> Any:
        flow = self._import()
        from synthcore.flows.running.environment import require_answer

        require_answer()
        hidden = {name: _wrapped(value) for name, value in parameters.items()}
        return flow(*map(_wrapped, arguments), **hidden)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._import(), name)

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]  # help() shows the flow's
        doc: str | None = self._import().__doc__
        return doc

    def _import(self) -> Any:
        return getattr(import_module(self._module), self._name)


def _wrapped(value: Any) -> Any:
    """Wrap an address: of what a flow is called with Prefect keeps the text, which is then without secrets."""
    from synthcore.base.addresses import SCHEMES, Address

    is_address = isinstance(value, str) and value.lower().startswith(tuple(f"{scheme}://" for scheme in SCHEMES))
    return Address(value) if is_address else value


generate = LazyFlow("synthcore.flows.generate", "generate")
inspect = LazyFlow("synthcore.flows.inspect_dataset", "inspect_dataset")
verify = LazyFlow("synthcore.flows.verify", "verify")
fit_priors = LazyFlow("synthcore.flows.fit_priors", "fit_priors")
discover_wavetables = LazyFlow("synthcore.flows.discover_wavetables", "discover_wavetables")
download_presets = LazyFlow("synthcore.flows.download_presets", "download_presets")
ingest_presets = LazyFlow("synthcore.flows.ingest_presets", "ingest_presets")
compare = LazyFlow("synthcore.flows.compare_datasets", "compare")
evaluate = LazyFlow("synthcore.flows.evaluate_answers", "evaluate")
publish = LazyFlow("synthcore.flows.publish_dataset", "publish")
import_dataset = LazyFlow("synthcore.flows.import_dataset", "import_dataset")
compute_features = LazyFlow("synthcore.flows.compute_features", "compute_features")
compute_weights = LazyFlow("synthcore.flows.compute_weights", "compute_weights")

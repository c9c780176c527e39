"""Whether an output may be written: new, or the same dataset to be continued. Never another one by mistake."""

from __future__ import annotations

import tempfile
from pathlib import Path

from synthcore.base.errors import DatasetError, SpecError
from synthcore.engine.machine import engine
from synthcore.sources.priors import digest_of
from synthcore.sources.synthetic import drawn_with
from synthcore.spec import DatasetSpec
from synthcore.storage.dataset import Dataset
from synthcore.vital.controls import installed

REPLACE = "name another output, or replace it with --overwrite"


def grown(spec: DatasetSpec, output: Path, by: int) -> DatasetSpec:
    """Ask for `by` rows more than the output has; where there is no output, for as many as the spec says."""
    if not by or not output.exists():
        return spec
    try:
        with Dataset(output) as existing:
            return spec.model_copy(update={"n_samples": existing.spec.n_samples + by})
    except DatasetError:
        return spec  # require_continuable says what is wrong with the file


def require_continuable(output: Path, spec: DatasetSpec, *, overwrite: bool) -> None:
    """Refuse an output that can't be written, or that holds something else.

    Raises
    ------
    SpecError
        The folder can't be written, or the file is another dataset, or has more rows than the spec.
    EngineMismatch
        The file was made with another synth.
    """
    require_same_spec(output, spec, overwrite=overwrite)
    if not output.exists() or overwrite:
        return
    with Dataset(output) as existing:
        installed().require_same(existing.registry, str(output))
        if existing.drawing.drawn_from.digest != digest_of(spec.priors):
            raise SpecError(f"{output} was drawn from other priors, those of another synthcore; {REPLACE}")
        if existing.drawing.drawn_with != drawn_with():
            raise SpecError(f"{output} was drawn with {existing.drawing.drawn_with}, here is {drawn_with()}; {REPLACE}")
        if changed := engine().differences(existing.engine):
            raise SpecError(f"{output} was rendered by another engine ({', '.join(changed)}); {REPLACE}")


def require_same_spec(output: Path, spec: DatasetSpec, *, overwrite: bool) -> None:
    """Refuse an output that can't be written, is of another spec, or longer: what is known without the synth.

    Raises
    ------
    SpecError
    """
    require_writable(output)
    if not output.exists() or overwrite:
        return
    try:
        existing = Dataset(output)
    except DatasetError as error:
        raise SpecError(f"{output} exists and can't be continued ({error}); {REPLACE}") from error
    with existing:
        if existing.spec.fingerprint != spec.fingerprint:
            differing = ", ".join(_differences(existing.spec, spec))
            raise SpecError(f"{output} was made from another spec ({differing}); {REPLACE}")
        if existing.spec.n_samples > spec.n_samples:
            there = f"{output} has {existing.spec.n_samples} synthetic rows"
            raise SpecError(f"{there}, more than the {spec.n_samples} asked for; {REPLACE}")


def require_new(output: Path) -> None:
    """Refuse an output that can't be written, or that is there already.

    Raises
    ------
    SpecError
    """
    require_writable(output)
    if output.exists():
        raise SpecError(f"{output} exists; name another output with -o")


def require_writable(output: Path) -> None:
    """Refuse an output that can't be written.

    Raises
    ------
    SpecError
    """
    if output.is_dir():
        raise SpecError(f"{output} is a folder; name a file in it")
    if output.exists() and not output.is_file():  # for root, /dev/null is as easily replaced as a file
        raise SpecError(f"{output} is a device or a pipe, which would be replaced by a file; name a file")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output.parent):
            pass
    except OSError as error:
        raise SpecError(f"can't write in {output.parent}: {error.strerror}; name another file or folder") from error


def _differences(theirs: DatasetSpec, ours: DatasetSpec) -> list[str]:
    """Name what two specs disagree on, besides the number of rows."""
    old, new = _flat(theirs), _flat(ours)
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return [f"{name} {_stated(old.get(name))} there, {_stated(new.get(name))} here" for name in names]


def _stated(value: object) -> object:
    return "not given" if value is None else value


def _flat(spec: DatasetSpec) -> dict[str, object]:
    fields = spec.model_dump(exclude={"n_samples"})
    nested = {k: v for part in ("audio", "acceptance") for k, v in fields.pop(part).items()}
    return {**fields, **nested}

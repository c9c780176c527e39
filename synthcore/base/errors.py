"""What can go wrong for reasons a person can mend.

    SynthcoreError                   the root: one clear line
    |- SpecError                     a spec or command that makes no sense, or clashes with what exists
    |- DatasetError                  a file that isn't a dataset, or a damaged one
    |  |- DamagedShard               a shard whose bytes changed since it was made
    |  `- NewerDataset               a whole file, which only a newer synthcore can read
    |- FileUnavailable               a whole file that can't be opened now: locked, forbidden, or one too many
    |- DiskError                     a file that can't be written: a full disk, a folder without permission
    |- PresetError                   a file that isn't a preset, or one that the synth wouldn't survive
    |- EngineMismatch                the synth here is not the synth that made this, or that is required
    |- DownloadError                 (1) a source that could not be downloaded: gone, refused, too large, too slow
    |- ServerGone                    (1) the workflow's server no longer answers
    |- Interrupted                   (1) someone asked us to stop
    `- RenderError                   (1, one shard) a shard or a patch that could not be rendered
       |- Accident                   bad luck: a kill, a time-out, a broken pipe; heals by trying again
       |- LowAcceptance              the spec's doing: nearly every candidate is refused
       `- IncompleteDataset          some shards failed: the others are made, and kept

A command exits with 2 where the user can correct what was given, and with 1 where the work itself failed: those marked.
Each befalls a whole run, but for those of one shard: of the other shards, a run can still make a dataset.

Bad audio is none of these: it is a value, see `synthcore.engine.faults`.
"""

from __future__ import annotations

from typing import ClassVar


class SynthcoreError(Exception):
    """Anything a person can mend: the message says what, where, why and what to do.

    Attributes
    ----------
    exit_code : int
        Of a command that it ends.
    affects_whole_run : bool
        Whether other shards would meet it too, so that the run ends at once; otherwise it leaves a gap.
    """

    exit_code: ClassVar[int] = 2
    affects_whole_run: ClassVar[bool] = True


class SpecError(SynthcoreError):
    """A spec or command that makes no sense, or that clashes with a file that is already there."""


class DatasetError(SynthcoreError):
    """A file that isn't a dataset, is of another schema version, or is damaged."""


class DamagedShard(DatasetError):
    """A shard is gone, or its bytes are not those it was made with. Rendering it again mends it."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is gone or damaged; run generate again: it renders this shard, and only this one")
        self.name = name

    def __reduce__(self) -> tuple[type[DamagedShard], tuple[str]]:
        return type(self), (self.name,)


class NewerDataset(DatasetError):
    """A whole file that a newer synthcore wrote: this one knows neither its schema nor, perhaps, its spec."""


class FileUnavailable(SynthcoreError):
    """A file that can't be opened now, whatever it holds: another program is writing it, or it is forbidden.

    Not a DatasetError: a passing obstacle must never be mended by making the file again.
    """


class DiskError(SynthcoreError):
    """A file that can't be written: the disk is full, the folder is forbidden, or similar."""


class PresetError(SynthcoreError):
    """A file that isn't a preset or wavetable, or one that the synth must not see: the message is the reason."""


class EngineMismatch(SynthcoreError):
    """The synth here has other controls than a file was made with, or would make other rows than are required."""


class DownloadError(SynthcoreError):
    """A source of presets that could not be downloaded. The others still are."""

    exit_code = 1


class ServerGone(SynthcoreError):
    """The server that a run reports to no longer answers. What was made is kept."""

    exit_code = 1


class Interrupted(SynthcoreError):
    """Rendering was asked to stop."""

    exit_code = 1


class RenderError(SynthcoreError):
    """A shard or a patch that could not be rendered."""

    exit_code = 1
    affects_whole_run = False


class Accident(RenderError):
    """A kill, a lost zygote, a time-out or a broken pipe: trying again heals it."""


class LowAcceptance(RenderError):
    """Nearly every candidate of a shard was refused: the spec is at fault, not the moment."""


class IncompleteDataset(RenderError):
    """Some shards failed for good, and a dataset with gaps was not asked for."""

"""What can go wrong for reasons a person can mend.

    SynthcoreError                   the root: one clear line, exit code 2
    |- SpecError                     a wish that makes no sense, or clashes with what exists
    |- DatasetError                  a file that is no dataset, or a damaged one
    |  `- DamagedShard               a shard whose bytes changed since it was made
    |- FileUnavailable               a whole file that can't be opened now: locked, forbidden, or one too many
    |- PresetError                   a file that is no preset, or one that the synth wouldn't survive
    |- DownloadError                 a source that could not be downloaded: gone, refused, too large, too slow
    |- EngineMismatch                the synth here is not the synth that made this, or that is asked for
    `- RenderError                   a shard that could not be made
       |- Accident                   of the moment: a kill, a time-out, a broken pipe; heals by trying again
       |- LowAcceptance              of the spec: nearly every candidate is refused
       |- IncompleteDataset          of some shards: the others are made, and kept
       |- ServerGone                 of the workflow: its server no longer answers
       `- Interrupted                someone asked us to stop

Bad audio is none of these: it is a value, see `synthcore.engine.faults`.
"""

from __future__ import annotations


class SynthcoreError(Exception):
    """Anything a person can mend: the message says what, where, why and what to do."""


class SpecError(SynthcoreError):
    """A spec or command that makes no sense, or that clashes with a file that is already there."""


class DatasetError(SynthcoreError):
    """A file that is no dataset, is of another schema version, or is damaged."""


class DamagedShard(DatasetError):
    """A shard is gone, or its bytes are not those it was made with. Rendering it again mends it."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is gone or damaged; run generate again: it renders this shard, and only this one")
        self.name = name

    def __reduce__(self) -> tuple[type[DamagedShard], tuple[str]]:
        return type(self), (self.name,)


class FileUnavailable(SynthcoreError):
    """A file that can't be opened now, whatever it holds: another program is writing it, or it is forbidden.

    Not a DatasetError: what is wrong with the moment must never be mended by making the file again.
    """


class PresetError(SynthcoreError):
    """A file that is no preset or wavetable, or one that the synth must not see: the message is the reason."""


class DownloadError(SynthcoreError):
    """A source of presets that could not be downloaded. The others still are."""


class EngineMismatch(SynthcoreError):
    """The synth here has other controls than a file was made with, or would make other rows than were asked for."""


class RenderError(SynthcoreError):
    """A shard that could not be made."""


class Accident(RenderError):
    """A kill, a lost zygote, a time-out or a broken pipe: trying again heals it."""


class LowAcceptance(RenderError):
    """Nearly every candidate of a shard was refused: the spec is at fault, not the moment."""


class IncompleteDataset(RenderError):
    """Some shards failed for good, and a dataset with gaps was not asked for."""


class ServerGone(RenderError):
    """The server that a run reports to no longer answers. What was made is kept."""


class Interrupted(RenderError):
    """Rendering was asked to stop."""

"""Storage: the HDF5 file. `schema` says what is in it, `writer` fills it, `merge` joins shards, `dataset` reads.

h5py is imported here and nowhere else.
"""

from typing import Literal

#: Whether a dataset copies the audio of its shards, or only refers to it.
MergeMode = Literal["copy", "virtual"]

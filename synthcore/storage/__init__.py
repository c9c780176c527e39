"""Storage: the HDF5 file. `schema` says what is in it, `writer` fills it, `merge` joins shards, `dataset` reads.

h5py is imported here and nowhere else.
"""

from typing import Literal

#: Whether a dataset copies the audio of its shards, or only refers to it.
MergeMode = Literal["copy", "virtual"]
#: How audio is kept outside HDF5: as FLAC, which rounds it to 24 bits, or as the float32 it is, in a WAV file.
AudioCoding = Literal["flac", "wav"]
#: What the files of a published dataset are.
PublishedFormat = Literal["parquet", "webdataset"]

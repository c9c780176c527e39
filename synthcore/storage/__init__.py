"""Storage: the HDF5 file. `schema` says what is in it, `writer` fills it, `merge` joins shards, `dataset` reads.

h5py is imported here and nowhere else.
"""

"""The file of a recording: its shards while it is written, the one HDF5, reading, merging, features from elsewhere."""

"""A model on disk as INT8 layers: files, hashes, manifest."""

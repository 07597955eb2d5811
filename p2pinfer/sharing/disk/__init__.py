"""The stores in the cache folder: which there are, who uses them, which go when room is needed."""

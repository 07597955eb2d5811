"""The engine for every family: transformers' own layers over INT8 weights."""

"""The engine that runs transformers' own layers over INT8 weights, for every family."""

"""Streams, batches, prompts, hops and idle servers against llama.cpp, transformers and memory."""

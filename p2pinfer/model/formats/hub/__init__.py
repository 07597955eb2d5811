"""A model on the Hugging Face hub, read where it lies: only the bytes that are asked for."""

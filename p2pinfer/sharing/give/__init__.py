"""Giving: what of a model's files a server sends to others, when, and how fast."""

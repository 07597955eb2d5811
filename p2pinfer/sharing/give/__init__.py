"""Giving: what of the files of its layers a server sends to others, when, and how fast."""

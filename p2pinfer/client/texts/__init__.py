"""Texts without torch or transformers: many requests share a few sessions, and none has a thread."""

"""Snapshots as HTML: pure functions and dataclasses that the templates draw."""

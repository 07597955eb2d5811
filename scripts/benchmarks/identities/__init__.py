"""Whose identities benchmarks use, and what these cost."""

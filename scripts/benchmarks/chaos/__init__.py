"""Servers die, fall silent and leave under sessions that generate: the texts must not change."""

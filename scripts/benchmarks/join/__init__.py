"""Measures what joining with a share of a model takes: bytes, time, and how much of the lines is used."""

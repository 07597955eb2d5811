"""The sources of signals, one file for each kind, and all of them together."""

"""Machines, the paths between them, and what travels on the paths: sockets, lanes, calls."""

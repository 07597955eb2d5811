"""Servers that organise themselves: many join at once, die, leave and come back, and share the load."""

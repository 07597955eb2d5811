"""The commands of `python -m p2pinfer.owner`, one module each."""

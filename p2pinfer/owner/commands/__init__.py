"""What `python -m p2pinfer.owner` can do, a module for each command."""

"""The commands of `python -m p2pinfer.documents`: one module each."""

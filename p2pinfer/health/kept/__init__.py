"""Files that a page keeps across restarts."""

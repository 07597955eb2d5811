"""What the page keeps across restarts: history and contributions."""

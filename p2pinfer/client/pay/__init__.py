"""What a client owes, and its signatures for it."""

"""Foreign bytes by the million: every reader of what strangers send, and what may be sent in place of it."""

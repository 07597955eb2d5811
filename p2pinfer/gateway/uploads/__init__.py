"""Files that clients send: how they are taken apart while they come, and how many at once."""

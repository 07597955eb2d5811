"""What travels between peers: messages, steps as bytes, pinned channels and lanes, status codes."""

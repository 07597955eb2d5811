"""What travels between peers: messages, tensors as bytes, pinned channels, status codes."""

"""What requests may hold. A field is honoured, or accepted without effect, or refused by name."""

"""What makes the answer to one document."""

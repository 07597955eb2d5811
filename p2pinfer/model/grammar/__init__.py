"""What an answer may be: JSON that fits a schema, or calls of tools, enforced token by token with llguidance."""

"""What an answer may be, enforced token by token: JSON that fits a schema, or calls of tools."""

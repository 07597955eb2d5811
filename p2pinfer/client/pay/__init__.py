"""What a client owes servers for their work, and the receipts it signs."""

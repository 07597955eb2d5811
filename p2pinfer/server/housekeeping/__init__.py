"""What a running server uses, the limits that it keeps, and what it reports to its owner."""

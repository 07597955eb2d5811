"""Which layers this server has: chosen, claimed, announced, and exchanged for others where that helps."""

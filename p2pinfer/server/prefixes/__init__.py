"""What sessions have computed once is kept beyond them: in memory that no session has leased."""

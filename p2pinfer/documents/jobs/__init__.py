"""What a job is, and the SQLite file that keeps jobs."""

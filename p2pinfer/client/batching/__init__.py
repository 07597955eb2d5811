"""Many texts in few sessions: rows that begin, end and rewind each by itself (continuous batching)."""

"""The giving side: the calls by which other peers get a model's files from this one."""

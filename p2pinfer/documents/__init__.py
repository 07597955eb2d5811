"""Batches of documents: jobs that are kept, run through the swarm, and can be resumed."""

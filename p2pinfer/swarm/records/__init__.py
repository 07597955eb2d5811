"""What is said in the swarm: signed records, their bounds, and lists of models."""

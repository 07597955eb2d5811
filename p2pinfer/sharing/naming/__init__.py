"""Which model is meant: by its name, by its hash, or the one that the swarm needs most."""

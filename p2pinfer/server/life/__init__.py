"""A server's life: the owner's policy takes it into the swarm and out of it again."""

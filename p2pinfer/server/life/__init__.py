"""A server's life: with its owner's consent in and out of the swarm, and what it uses meanwhile."""

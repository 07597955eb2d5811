"""Membership in a swarm that survives the end of p2pd and the loss of known peers."""

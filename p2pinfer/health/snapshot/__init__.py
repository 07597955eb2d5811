"""The state of the swarm at one moment as plain data, and the words for it."""

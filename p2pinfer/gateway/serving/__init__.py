"""The models that a gateway has: named ones, or what the swarm serves as a whole."""

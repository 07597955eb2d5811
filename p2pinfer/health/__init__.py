"""The public health page: what the swarm serves, where it is thin, what it can do. Nobody depends on it."""

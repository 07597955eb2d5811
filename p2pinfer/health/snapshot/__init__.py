"""One look at the swarm as plain data, and the words for it."""

"""How servers are found: where one is announced, and what a reader reads. The rules are in swarm/cells."""

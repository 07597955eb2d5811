"""How long it takes to be found in a swarm, what that costs at rest, and whether strangers can prevent it."""

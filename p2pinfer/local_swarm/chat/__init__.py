"""scripts/quickstart --chat: the chat page over a swarm on this machine, whose servers the page may kill."""

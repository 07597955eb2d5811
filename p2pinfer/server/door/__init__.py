"""How sessions come in: connections, openings, and whether they are taken."""

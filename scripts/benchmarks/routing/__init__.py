"""How fast, and how good, the search for a route is."""

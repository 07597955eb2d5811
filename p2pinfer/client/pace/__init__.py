"""How fast a route's hops are, next to what was expected of them."""

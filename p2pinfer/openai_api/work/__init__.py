"""Models as clients know them, and what a request means to one of them."""

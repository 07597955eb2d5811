"""The models that a gateway has, and what a request means to one of them."""

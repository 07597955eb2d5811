"""Which servers to use: their records, the client's own measurements, and the best route through them."""

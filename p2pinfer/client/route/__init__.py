"""Which servers to use: records, measurements, and the best route through them."""

"""The sessions that are open: their leases, steps, outputs, and what clients owe for them."""

"""Discovery at sizes that no machine can run: the product's rules of cells on arrays.

`population` says where servers are, `tree` where each is announced, `ring` how the DHT is walked, `readers`
what clients do; `hostile`, `flood` and `events` are bad days; `growth` puts a line together, `command`
prints.
"""

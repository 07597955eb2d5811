"""A route in use: its hops, its steps, and what happens when one of them is lost."""

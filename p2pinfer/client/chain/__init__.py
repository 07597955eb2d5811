"""A route in use: its hops, the steps that go through them, and how hops are exchanged."""

"""Relays: a member that both sides are connected with passes their streams on, within its owner's limits."""

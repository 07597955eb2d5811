"""The client's side: its network, its carrier, and its blocking program."""

"""What a client asks of the network, and how that is really done."""

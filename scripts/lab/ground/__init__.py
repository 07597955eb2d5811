"""What hosts and home routers stand on: namespaces, addresses, names, and the wires between them."""

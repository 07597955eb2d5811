"""How a connection to a peer comes about: which ways are tried when, and what a ClientHello asks for."""

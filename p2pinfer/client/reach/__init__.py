"""How a client reaches servers: the calls and lanes it needs, and gRPC and TLS underneath."""

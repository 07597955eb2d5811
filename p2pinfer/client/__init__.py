"""The client's side: finds a route, sends tokens through it, and turns the results into text."""

import os

# gRPC's core writes to stderr whenever a server leaves, unless this is set before gRPC is loaded.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

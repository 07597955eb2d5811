"""The client's side: picks a route, keeps the token loop, turns hidden states into text."""

import os

# gRPC's core writes to stderr whenever a server leaves, unless told otherwise before it is loaded.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

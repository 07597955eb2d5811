"""A free port of this machine, for a program that must have the same port after a restart."""

from __future__ import annotations

import socket


def free_port(address: str = "127.0.0.1") -> int:
    """A port that the system chose. Another program may take it before the caller does."""
    with socket.create_server((address, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port

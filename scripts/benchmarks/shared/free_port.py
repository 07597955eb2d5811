"""A port of this machine that nobody listens on, for what has to be found where it was after a restart."""

from __future__ import annotations

import socket


def free_port(address: str = "127.0.0.1") -> int:
    """One that the system chose; it is free until somebody takes it."""
    with socket.create_server((address, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port

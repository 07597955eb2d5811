"""The socket that a web server listens on."""

from __future__ import annotations

import socket

from p2pinfer.errors import UsageError

_BACKLOG = 512


def listen(host: str, port: int) -> socket.socket:
    """The socket that visitors connect to. Raises UsageError, naming the flags, if it can't be opened."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, UnicodeError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or error
        raise UsageError(
            f"--host {host} --port {port}: can't listen there ({why}); "
            "choose another port, or end the program that uses it"
        ) from error


def address_of(listener: socket.socket) -> str:
    """The URL of a listener, as far as it is known: `http://127.0.0.1:8080/`."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"

"""The socket that a web server listens on."""

from __future__ import annotations

import socket

from p2pinfer.errors import UsageError

BACKLOG = 512
"""Connections that come faster than they are taken wait here; so many may be taken at once."""

_OTHER_FILES = 1_024


def listen(host: str, port: int) -> socket.socket:
    """The socket that visitors connect to. Raises UsageError, naming the flags, if it can't be opened."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
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


def connections_within(most_files: int, most: int) -> int:
    """How many connections a program takes at a time that may open `most_files`: `most`, or what is enough.

    >>> [connections_within(files, 2_000) for files in (1_024, 4_096)]
    [256, 2000]
    """
    return min(most, max(most_files - files_for(0), most_files // 4))


def files_for(connections: int) -> int:
    """How many files a program opens that has so many connections, and others to its swarm."""
    return connections + BACKLOG + _OTHER_FILES

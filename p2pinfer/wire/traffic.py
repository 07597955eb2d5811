"""How many bytes this process exchanges with others, in all."""

from __future__ import annotations

import socket


class Traffic:
    """The bytes that this process has sent and received so far over connections of one kind.

    Threads count without a lock: of two additions at the same moment one may be lost.
    """

    __slots__ = ("received_bytes", "sent_bytes")

    def __init__(self) -> None:
        self.sent_bytes = 0
        self.received_bytes = 0

    def count_sent(self, number: int) -> None:
        """Add `number` bytes that were sent."""
        self.sent_bytes += number

    def count_received(self, number: int) -> None:
        """Add `number` bytes that were received."""
        self.received_bytes += number


DIRECT = Traffic()
"""Traffic with other machines, without TLS, TCP and IP: these add a tenth to a decode step on a lane."""

TUNNELLED = Traffic()
"""Traffic with p2pd, which passes it on to other machines."""


SHARED = Traffic()
"""The part of both that is files of models, given to others: the bytes of the files alone."""


def traffic_of(sock: socket.socket) -> Traffic:
    """The counter for the bytes of a connection. A Unix socket leads to p2pd."""
    return TUNNELLED if sock.family == socket.AF_UNIX else DIRECT

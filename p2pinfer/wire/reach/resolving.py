"""Names of hosts become IP addresses, before anybody decides whether these may be dialled."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence

from p2pinfer.threads import in_thread
from p2pinfer.wire.reach.endpoints import Endpoint, ip_of

MOST_AT_A_TIME = 16
"""Strangers choose the names: those of a resolver that never answers must not pile up threads."""

MOST_ADDRESSES = 4
"""Of one name."""

_slots = threading.BoundedSemaphore(MOST_AT_A_TIME)


async def resolved(host: str, port: int) -> Sequence[Endpoint]:
    """The endpoints that a name stands for now; none if it isn't known, or too many are asked for.

    A name that the system's resolver answers slowly takes long: the caller sets the deadline.
    """
    if not _slots.acquire(blocking=False):
        return ()
    return await in_thread(lambda: _looked_up(host, port), name="resolve")


def _looked_up(host: str, port: int) -> Sequence[Endpoint]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # UnicodeError: a label that is too long
        return ()
    finally:
        _slots.release()
    ips = [ip_of(str(address[0])) for *_, address in found]
    return tuple(Endpoint(ip, port) for ip in dict.fromkeys(ips) if ip is not None)[:MOST_ADDRESSES]

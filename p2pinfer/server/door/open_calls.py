"""Tells which connections of gRPC are in use: it counts the open calls of each."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from p2pinfer.server.door.guests import Guests
from p2pinfer.server.door.methods import AroundMethods, Method, Parse

SESSION_METHOD = "/p2pinfer.wire.Inference/Session"


class OpenCalls(AroundMethods):
    """Counts the calls."""

    def __init__(self, guests: Guests) -> None:
        self._guests = guests

    def around(self, method: Method, parse: Parse | None, path: str) -> tuple[Method, Parse | None]:
        """The method is counted while it runs."""
        return self._counted(method, is_session=path == SESSION_METHOD), parse

    def _counted(self, method: Method, *, is_session: bool) -> Method:
        async def call(request: Any, context: Any) -> Any:
            with self._open(guest_of(context.peer()), is_session=is_session):
                return await method(request, context)

        return call

    @contextmanager
    def _open(self, guest: str, *, is_session: bool) -> Iterator[None]:
        self._guests.call_began(guest, time.monotonic(), is_session=is_session)
        try:
            yield
        finally:
            self._guests.call_ended(guest, time.monotonic(), is_session=is_session)


def guest_of(peer: str) -> str:
    """The name of a connection, from what gRPC calls the other side: the path of its unix socket.

    >>> guest_of("unix:/run/user/1/some%20folder/guest-7")
    'guest-7'
    """
    return peer.rpartition("/")[2]

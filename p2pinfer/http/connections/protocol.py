"""uvicorn's HTTP protocol, with bounds on what a connection may take.

uvicorn by itself takes headers of any length, waits without end for the rest of a request or for its answer
to be read, and refuses everybody once there are too many connections. All of that costs a stranger nothing.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from p2pinfer.fairness.sources import Source, source_of
from p2pinfer.http.connections.patience import Deadlines, Patience, Waiting
from p2pinfer.http.connections.places import Places
from p2pinfer.http.connections.proxies import Network, visitor

MOST_HEAD_BYTES = 64 << 10
"""Of the first line and the headers of a request; of what frames a body no more than that and its length."""

_MOST_PIPELINED = 16


def _refusal(status: str, sentence: str, *, retry_after: int | None = None) -> bytes:
    """A whole answer, with a sentence that says what to do."""
    body = f"{sentence}\n".encode()
    wait = "" if retry_after is None else f"retry-after: {retry_after}\r\n"
    head = f"HTTP/1.1 {status}\r\n{wait}connection: close\r\ncontent-type: text/plain\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


_TOO_SLOW = _refusal(
    "408 Request Timeout", "The request came too slowly: send less of it at once, or faster."
)
_TOO_LARGE = _refusal("431 Request Header Fields Too Large", "The headers are too long: send shorter ones.")
_TOO_MANY = _refusal(
    "429 Too Many Requests", "Too many requests wait on this connection: read answers first.", retry_after=1
)
_NO_PLACE = _refusal(
    "503 Service Unavailable",
    "All places are taken, most by your network: try again.",
    retry_after=5,
)


class BoundedHttp(HttpToolsProtocol):
    """Leaves when others need its place, and when its peer sends too much or nothing, or reads nothing."""

    def __init__(
        self,
        *,
        places: Places[BoundedHttp],
        deadlines: Deadlines,
        proxies: tuple[Network, ...],
        **given: Any,
    ) -> None:
        super().__init__(**given)
        self._places = places
        self._proxies = proxies
        self._patience = Patience(deadlines, self.loop.time())
        self._source = Source("")
        self._head_bytes = 0  # what came since the request began, but for its body, twice

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a place, and wait for the first request."""
        super().connection_made(transport)
        self._source = source_of(self.client[0] if self.client else "")
        _make_room(self._places.wait(self, self._source))

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the place."""
        self._places.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        if self.transport.is_closing():
            return
        self._head_bytes += len(data)
        super().data_received(data)
        # Headers that are complete may have come with a long body.
        if self._head_bytes > MOST_HEAD_BYTES and self._patience.waiting is not Waiting.NOTHING:
            self._refuse(_TOO_LARGE)

    def send_400_response(self, msg: str) -> None:
        """Answer what can't be parsed, unless the connection has been refused already."""
        if not self.transport.is_closing():
            super().send_400_response(msg)

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._patience.wait_for(Waiting.HEAD, self.loop.time())

    def on_headers_complete(self) -> None:
        """The headers are there."""
        if len(self.pipeline) >= _MOST_PIPELINED:
            self._refuse(_TOO_MANY)
            raise ConnectionAbortedError  # ends the parser
        self._head_bytes = 0
        if self.client is not None and self._proxies:
            host = visitor(self.client[0], self.headers, self._proxies)
            self._source = source_of(host)
            self.scope["client"] = (host, self.client[1])
        self._patience.wait_for(Waiting.BODY, self.loop.time())
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of the body is there."""
        self._head_bytes -= 2 * len(body)
        self._patience.came(len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is there."""
        self._head_bytes = 0
        super().on_message_complete()
        if self.cycle.response_complete:  # it was refused before its body was there
            self._patience.wait_for(Waiting.START, self.loop.time())
            return
        self._patience.wait_for(Waiting.NOTHING, self.loop.time())
        _make_room(self._places.work(self, self._source))

    def on_response_complete(self) -> None:
        """An answer is sent: the next request may come."""
        super().on_response_complete()
        if self.transport.is_closing() or not self.cycle.response_complete:
            return
        if self._patience.waiting is Waiting.NOTHING:
            self._patience.wait_for(Waiting.START, self.loop.time())
        _make_room(self._places.wait(self, self._source))

    def resume_writing(self) -> None:
        """The peer has read most of what waited for it."""
        self._patience.went()
        super().resume_writing()

    def look(self, now: float) -> None:
        """Close the connection if its time is over. Called now and then."""
        if self._patience.answer_is_over(now, self.transport.get_write_buffer_size()):
            self.transport.abort()
        elif self._patience.request_is_over(now, is_paused=self.flow.read_paused):
            self._refuse(_TOO_SLOW)

    def give_way(self) -> None:
        """Leave for another connection."""
        self._refuse(_NO_PLACE)

    def _refuse(self, answer: bytes) -> None:
        self._places.leave(self)
        if self.transport.is_closing():
            return
        if self.transport.get_write_buffer_size():
            self.transport.abort()  # its peer may never read the rest
            return
        is_answering = self.cycle is not None and self.cycle.response_started
        is_kept = self.cycle is not None and self._patience.waiting is Waiting.START
        if not is_kept and (not is_answering or self.cycle.response_complete):
            self.transport.write(answer)
        self.transport.close()


def _make_room(leaving: BoundedHttp | None) -> None:
    if leaving is not None:
        leaving.give_way()

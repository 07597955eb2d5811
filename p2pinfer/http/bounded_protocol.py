"""uvicorn's HTTP protocol, with bounds on what a connection may take before it has asked for something.

uvicorn by itself takes headers of any length, and waits without end for the rest of a request. Both cost a
stranger nothing: without these bounds, 2,000 idle connections keep everybody else out.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD_BYTES = 64 << 10
"""Of the first line and the headers of a request."""

REQUEST_SECONDS = 60.0
"""A request is there as a whole after this time, its body too; the first since the connection."""

LEAST_BODY_BYTES = 1 << 20
"""A body of which so much has come meanwhile, as of a large file, has the same time once more."""

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class BoundedHttp(HttpToolsProtocol):
    """Closes connections whose request is too long before its body, or doesn't come to its end."""

    request_seconds = REQUEST_SECONDS
    least_body_bytes = LEAST_BODY_BYTES

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._head_bytes: int | None = 0  # None: the headers are there
        self._deadline: asyncio.TimerHandle | None = None
        self._body_bytes = 0  # since the deadline was set

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait_for_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._end_wait()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, if the headers aren't too long by now."""
        if self._head_bytes is not None:
            self._head_bytes += len(data)
        super().data_received(data)
        # Headers that are complete may have come with a long body.
        if self._head_bytes is not None and self._head_bytes > MOST_HEAD_BYTES:
            self._refuse(_TOO_LARGE)

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._head_bytes = self._head_bytes or 0
        self._wait_for_request()

    def on_headers_complete(self) -> None:
        """The headers are there."""
        self._head_bytes = None
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of the body is there."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is there."""
        self._head_bytes = 0
        self._end_wait()
        super().on_message_complete()

    def _wait_for_request(self) -> None:
        if self._deadline is None:
            self._body_bytes = 0
            self._deadline = self.loop.call_later(self.request_seconds, self._end_of_time)

    def _end_of_time(self) -> None:
        self._deadline = None
        if self._body_bytes >= self.least_body_bytes:
            self._wait_for_request()
        else:
            self._refuse(_TOO_SLOW)

    def _end_wait(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, answer: bytes) -> None:
        self._end_wait()
        if self.transport.is_closing():
            return
        is_answering = self.cycle is not None and self.cycle.response_started
        if not is_answering or self.cycle.response_complete:
            self.transport.write(answer)
        self.transport.close()

"""One answer while it is being made."""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType
from typing import Self

from p2pinfer.client.batching.row_job import RowJob
from p2pinfer.client.batching.row_pool import RowPool
from p2pinfer.client.texts.request import RouteHop, RouteView, TextEnd, TextPart
from p2pinfer.model.ends import Logits
from p2pinfer.model.sampling.text_state import Advanced, TextState


class Growing:
    """Lets a text go on, in its session's thread, and keeps the parts until they are read."""

    def __init__(self, state: TextState) -> None:
        self.state = state
        self.parts: deque[TextPart] = deque()
        """Written by the session's thread, read by the loop."""
        self.last: Advanced | None = None
        """What ended the text."""

    def advance(self, logits: Logits) -> int | None:
        """Take the next token. Returns None when the text has ended."""
        advanced = self.state.advance(logits)
        if advanced.token is None:
            self.last = advanced  # before its part: whoever has read the last part knows how it ended
        if advanced.part is not None:
            self.parts.append(advanced.part)
        return advanced.token


class Text:
    """An async iterator of the parts of one answer. Parts that a slow reader has not read come as one.

    Leave it (`async with`, or `aclose`) to free its row at once, whether or not it has ended; one that is
    only dropped frees it when Python notices. It raises NoRouteError, RefusedError and HopFailedError when
    the swarm can't go on with it; ModelError and UsageError if its grammar allows nothing.
    """

    def __init__(self, pool: RowPool, job: RowJob, growing: Growing, news: asyncio.Event) -> None:
        self.end: TextEnd | None = None
        """How it ended; None until its last part was read."""
        self._pool = pool
        self._job = job
        self._growing = growing
        self._news = news
        self._is_left = False

    @property
    def cached_tokens(self) -> int:
        """Tokens of the prompt that the servers had already. It is known from the first part on."""
        return self._job.cached_tokens

    @property
    def new_tokens(self) -> int:
        """Tokens of the answer that are there."""
        return self._job.new_tokens

    def route(self) -> RouteView:
        """The servers that compute it now, and what has happened to its route since it began."""
        session = self._pool.session_of(self._job)
        hops = session.reached_hops if session is not None else []
        return RouteView(
            hops=tuple(
                RouteHop(
                    peer_id=hop.peer_id,
                    layers=hop.server.hop.layers,
                    ms_per_token=None if hop.pace.latest is None else hop.pace.latest * 1000,
                    way=ways.steps,
                )
                for hop, ways in hops
            ),
            events=tuple(self._job.replaced),
        )

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TextPart:
        while not self._growing.parts and not self._is_left:
            if self._job.has_ended and not self._growing.parts:  # they come before the end
                if self._job.error is not None:
                    raise self._job.error
                self._note_end()
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        if self._is_left:
            raise StopAsyncIteration
        part = self._unread()
        self._note_end()
        return part

    async def aclose(self) -> None:
        """Free the row; a task that waits for the next part gets no more. Closing twice is harmless."""
        self._is_left = True
        self._news.set()
        self._pool.cancel(self._job)

    def __del__(self) -> None:
        if not (self._is_left or self._job.has_ended):
            self._pool.abandon(self._job)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _unread(self) -> TextPart:
        parts = self._growing.parts
        first = parts.popleft()
        if not parts:
            return first
        rest = [first]
        while parts:
            rest.append(parts.popleft())
        return TextPart(
            text="".join(part.text for part in rest),
            tokens=tuple(token for part in rest for token in part.tokens),
        )

    def _note_end(self) -> None:
        last = self._growing.last
        if last is None or last.reason is None or self._growing.parts:
            return
        self.end = TextEnd(
            reason=last.reason,
            stop=last.stop,
            prompt_tokens=len(self._job.prompt),
            cached_tokens=self._job.cached_tokens,
            completion_tokens=self._growing.state.completion_tokens,
        )

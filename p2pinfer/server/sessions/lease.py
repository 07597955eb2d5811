"""What a session is promised when it is opened, and what the event loop knows of it until it ends.

A lease belongs to the event loop. The steps of its session belong to the computing thread (`server/streams`),
which writes into `progress` and uses the caches.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from p2pinfer.model.engine.base import SequenceCache
from p2pinfer.server.compute.budget import PAGE_TOKENS
from p2pinfer.server.sessions.accounts import Account
from p2pinfer.server.sessions.outbox import Outbox
from p2pinfer.server.streams.progress import Progress
from p2pinfer.types import SessionId, Span
from p2pinfer.wire.inference_pb2 import Terms
from p2pinfer.wire.status import Refused
from p2pinfer.wire.steps import Contract


@dataclass(slots=True, eq=False, kw_only=True)
class Lease:
    """One client's rows in this server's layers. An admitted session never runs out of cache."""

    id: SessionId
    client: bytes  # public key
    layers: Span
    contract: Contract
    control_key: bytes
    account: Account
    progress: Progress
    caches: list[SequenceCache]  # one per row, for the computing thread
    layer_tokens: int  # cache tokens times layers
    ended: asyncio.Future[Refused]
    outbox: Outbox = field(default_factory=Outbox)
    touched_at: float = field(default_factory=lambda: time.monotonic())

    @property
    def last_active(self) -> float:
        """When there was a step or a change last, in seconds of the monotonic clock."""
        return max(self.touched_at, self.progress.active_at)

    @property
    def tokens_run(self) -> int:
        """Tokens of all steps that were begun."""
        return self.progress.tokens_run

    def touch(self) -> None:
        """Something happened beside the steps: the idle time begins anew."""
        self.touched_at = time.monotonic()

    def end(self, refused: Refused) -> None:
        """End the session for this reason, unless it already ends for another."""
        if not self.ended.done():
            self.ended.set_result(refused)


def leased_tokens(terms: Terms) -> int:
    """Cache tokens that a session's rows take at most, in whole pages."""
    return terms.rows * (-(-terms.max_tokens // PAGE_TOKENS) * PAGE_TOKENS)

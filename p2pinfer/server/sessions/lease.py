"""What a session is promised when it is opened, and what the event loop knows of it until it ends.

A lease belongs to the event loop. The steps of its session belong to the computing thread (`server/streams`),
which writes into `progress` and uses the caches.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from p2pinfer.fairness.guest import Guest
from p2pinfer.model.engine.base import SequenceCache
from p2pinfer.server.compute.budget import PAGE_TOKENS
from p2pinfer.server.sessions.accounts import Account
from p2pinfer.server.sessions.outbox import Outbox
from p2pinfer.server.streams.progress import Progress
from p2pinfer.types import SessionId, Span
from p2pinfer.wire.inference_pb2 import Terms
from p2pinfer.wire.status import Refused
from p2pinfer.wire.steps import Contract

_REPLAY_SECONDS = 600.0
"""After the last step; the longest replay over a slow uplink takes less."""


@dataclass(slots=True, eq=False, kw_only=True)
class Lease:
    """One client's rows in this server's layers.

    Its cache is promised at the opening. While others wait, what it doesn't use may be taken back
    (`server.sessions.contention.py`); else a session never runs out of cache.
    """

    id: SessionId
    client: bytes  # public key
    guest: Guest
    """What the client counts as now; replaced whole."""
    layers: Span
    contract: Contract
    control_key: bytes
    account: Account
    progress: Progress
    caches: list[SequenceCache]  # one per row, for the computing thread
    layer_tokens: int  # cache tokens times layers that it may take; less than it asked for while others wait
    changes: int = 0  # of what it may take
    is_patient: bool = False  # nobody waits for its texts
    ended: asyncio.Future[Refused]
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when its memory is free."""
    outbox: Outbox = field(default_factory=Outbox)
    opened_at: float = field(default_factory=lambda: time.monotonic())
    touched_at: float = field(default_factory=lambda: time.monotonic())

    @property
    def last_active(self) -> float:
        """When a step was computed last, in seconds of the monotonic clock.

        Or when the session was opened, or had its history read by another hop.
        """
        return max(self.touched_at, self.progress.active_at)

    @property
    def tokens_run(self) -> int:
        """Tokens of all steps that were begun."""
        return self.progress.tokens_run

    @property
    def promised_layer_tokens(self) -> int:
        """What its opening has asked for."""
        return self.contract.rows * in_pages(self.contract.max_tokens) * len(self.layers)

    @property
    def used_layer_tokens(self) -> int:
        """What its rows take, as far as the computing thread has told."""
        return self.progress.cache_tokens * len(self.layers)

    def touch_for_replay(self) -> None:
        """A piece of the history was asked for: a long replay isn't idleness.

        But the history can be read again and again, and must not hold the session for good.
        """
        now = time.monotonic()
        if now - max(self.opened_at, self.progress.active_at) < _REPLAY_SECONDS:
            self.touched_at = now

    def end(self, refused: Refused) -> None:
        """End the session for this reason, unless it already ends for another."""
        if not self.ended.done():
            self.ended.set_result(refused)


def leased_tokens(terms: Terms) -> int:
    """Cache tokens that a session's rows take at most, in whole pages."""
    return terms.rows * in_pages(terms.max_tokens)


def in_pages(tokens: int) -> int:
    """The tokens of the pages that so many tokens of one row take."""
    return -(-tokens // PAGE_TOKENS) * PAGE_TOKENS

"""Which chunks are asked of which peer. Pure: time and chance come from the caller.

Rarest first: of what a peer holds and nobody is asked for, it is asked for what the fewest others hold, so
that no chunk dies out with the only peer that has it, and a slow first sender sends what nobody else can. A
request names several chunks, because the sender knows best which of them it has sent least often. Requests
to several peers name different chunks: if two senders chose the same one, one call would end with its first
bytes, but by then most of the chunk is on its way. Over ten home lines that was a sixth of all bytes.

When everything is asked for, a peer without work may be asked for what waits in another's queue, and for what
another is slow to send. The last costs bytes, which are bounded: what is received stays below 1.05 of what is
needed, or one chunk above it. That bound would serve those who send crumbs to hold a fetch up: a chunk of
which hardly anything comes is asked of another peer whatever was wasted before, and the slow call is ended.
Source of both ideas: B. Cohen, "Incentives Build Robustness in BitTorrent", 2003.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from p2pinfer.model.layer_store.chunks import CHUNK_BYTES
from p2pinfer.sharing import bitmaps
from p2pinfer.sharing.bitmaps import MOST_CHUNKS, Mask
from p2pinfer.sharing.fetch.ask import Ask
from p2pinfer.types import PeerId

MOST_NUMBERS = 1024
"""In one request."""

_PART_OF_FREE = 4  # a request names a quarter of what is free: choice for the sender, and some for others
_MANY_PER_REQUEST = 4  # chunks left for each request of a peer that waits: more are many
_QUEUED_SECONDS = 0.3  # what waits longer may be asked of another peer; with 1.0 ten joiners took 3 % longer
_SLOW_SECONDS = 2.0
_WASTE = 0.04
_CRUMBS_SECONDS = 5.0
_CRUMBS_BYTES_PER_SECOND = 16 * 1024  # of one call: a whole chunk would take a minute
_CRUMBS_PART = 10  # and a tenth of what a call to the peer that is asked instead brings
_STILL_SECONDS = 15.0  # if no chunk has come for so long, bytes matter no more


class Plan:
    """What is needed, who holds it, and what has been asked for. `total` chunks have numbers."""

    def __init__(self, total: int, share_bytes: int, draw: random.Random | None = None) -> None:
        """`share_bytes` is what the whole fetch needs; a part of it may be received in vain."""
        self.wasted_bytes = 0
        """Received, and of no use."""
        self._needed = bitmaps.empty(total)
        self._holders: NDArray[np.int32] = np.zeros(total, dtype=np.int32)
        self._asks: list[Ask] = []
        self._most_waste = max(int(_WASTE * share_bytes), CHUNK_BYTES)
        self._credit: dict[PeerId, int] = {}  # chunks that came, less calls that were ended as crumbs
        self._last_came_at: float | None = None
        self._draw = np.random.default_rng((draw or random.Random()).getrandbits(64))

    @property
    def needed(self) -> Mask:
        """What has to come still. Not to be written to."""
        return self._needed

    def need(self, numbers: Iterable[int]) -> None:
        """These chunks are wanted from now on."""
        self._needed[np.fromiter(numbers, dtype=np.int64)] = True

    def drop(self, numbers: Iterable[int]) -> None:
        """These chunks are here, or come another way."""
        wanted = [number for number in numbers if self._needed[number]]
        self._needed[wanted] = False
        for number in wanted:
            self._end_rivals(number)

    def offered(self, mask: Mask) -> None:
        """One more peer holds these chunks."""
        self._holders += mask

    def withdrawn(self, mask: Mask) -> None:
        """A peer that held these has gone, or doesn't hold them after all."""
        self._holders -= mask

    def is_offered(self, numbers: range) -> bool:
        """True if some peer holds one of these chunks that is still needed."""
        part = slice(numbers.start, numbers.stop)
        return bool((self._needed[part] & (self._holders[part] > 0)).any())

    def ask(self, peer_id: PeerId, held: Mask, now: float, peer_rate: float | None = None) -> Ask | None:
        """The next request to a peer that holds `held`; None if there is nothing to ask it for now.

        `peer_rate` is what one call to it brings, in bytes per second; None: unknown.
        """
        useful = self._needed & held
        if not useful.any():
            return None
        chosen = self._rarest(useful, peer_id)
        copies = None
        if not len(chosen) and (crumbs := self._crumbs(useful, peer_id, now, peer_rate)) is not None:
            ask = Ask(peer_id, frozenset([crumbs]), now, crumbs, replaces=True)
            self._asks.append(ask)
            return ask
        if not len(chosen):
            chosen, copies = self._take_over(useful, peer_id, now, peer_rate)
        if not len(chosen):
            return None
        ask = Ask(peer_id, frozenset(int(number) for number in chosen), now, copies)
        self._asks.append(ask)
        return ask

    def named(self, ask: Ask, number: int, now: float) -> bool:
        """The peer sends this one, of those it was asked for. False: it is of no use, end the call."""
        if not self._needed[number] or (ask.copies != number and number in self._coming):
            return False
        ask.chunk, ask.named_at = number, now
        for rival in self._asks:
            if ask.replaces and rival is not ask and rival.chunk == number and not rival.is_over:
                self._credit[rival.peer_id] = self._credit.get(rival.peer_id, 0) - 1
                rival.give_up()
        self._end_idle_calls(number)
        return True

    def came(self, ask: Ask, now: float) -> bool:
        """The chunk of this request is here, and was right. False: it wasn't needed any more."""
        assert ask.chunk is not None
        self._asks.remove(ask)
        self._last_came_at = now
        self._credit[ask.peer_id] = self._credit.get(ask.peer_id, 0) + 1
        if not self._needed[ask.chunk]:
            self.wasted_bytes += ask.received_bytes
            return False
        self.drop([ask.chunk])
        return True

    def failed(self, ask: Ask) -> None:
        """The call has ended without its chunk: others may be asked for what it was asked for."""
        self._asks.remove(ask)
        self.wasted_bytes += ask.received_bytes

    def _rarest(self, useful: Mask, peer_id: PeerId) -> NDArray[np.int64]:
        """Chunks that nobody sends yet, those that the fewest hold first, in a random order."""
        ours = [ask for ask in self._asks if ask.chunk is None and ask.peer_id == peer_id]
        taken = bitmaps.empty(len(self._needed))
        taken[self._coming] = True
        for ask in self._asks:
            if ask.chunk is None and ask.peer_id != peer_id:
                taken[ask.array] = True
        free = np.flatnonzero(useful & ~taken)
        # A sender doesn't send the same twice while it has another; with few left it would have to.
        if len(free) <= _MANY_PER_REQUEST * (len(ours) + 1):
            for ask in ours:
                taken[ask.array] = True
            free = np.flatnonzero(useful & ~taken)
        if not len(free):
            return free
        most = max(1, min(MOST_NUMBERS, len(free) // _PART_OF_FREE))
        if len(free) > most:
            order = self._holders[free] + self._draw.random(len(free))
            free = free[np.argpartition(order, most - 1)[:most]]
        return _in_one_bitmap(free)

    def _take_over(
        self, useful: Mask, peer_id: PeerId, now: float, rate: float | None
    ) -> tuple[NDArray[np.int64], int | None]:
        """What others have been asked for: by queues first, which costs next to nothing, then from the slow.

        Returns chunks to ask for, and which of them is a copy of one that is coming already.
        """
        coming = self._coming
        queued = bitmaps.empty(len(useful))
        for ask in self._asks:
            is_old = now - ask.asked_at > _QUEUED_SECONDS
            if ask.chunk is None and ask.peer_id != peer_id and is_old:
                queued[ask.array] = True
        for ask in self._asks:  # nor what this peer has been asked for already
            if ask.peer_id == peer_id and ask.chunk is None:
                queued[ask.array] = False
        queued[coming] = False
        free = np.flatnonzero(queued & useful)
        if len(free):
            return _in_one_bitmap(free[: max(1, len(free) // 2)]), None
        copied = {ask.copies for ask in self._asks}
        slow = [
            ask
            for ask in self._asks
            if ask.chunk is not None
            and ask.peer_id != peer_id
            and useful[ask.chunk]
            and ask.chunk not in copied
            and coming.count(ask.chunk) == 1
            and is_worth_a_copy(ask, now, rate)
        ]
        if not slow or not (self._may_waste_one_more(copied) or self._is_still(now)):
            return np.empty(0, dtype=np.int64), None
        slowest = min(slow, key=lambda ask: ask.received_bytes)
        assert slowest.chunk is not None
        return np.array([slowest.chunk]), slowest.chunk

    def _crumbs(self, useful: Mask, peer_id: PeerId, now: float, rate: float | None) -> int | None:
        """A chunk of which others send crumbs only, and which nobody else was asked for a moment ago."""
        if self._credit.get(peer_id, 0) < 0:
            return None  # it would send crumbs too
        if rate is None and not self._is_still(now):
            return None  # on a slow line all calls bring little: one more would bring no more
        senders: dict[int, list[Ask]] = {}
        asked_again = set()
        for ask in self._asks:
            if ask.chunk is not None:
                senders.setdefault(ask.chunk, []).append(ask)
            elif ask.copies is not None and now - ask.asked_at < _CRUMBS_SECONDS:
                asked_again.add(ask.copies)
        found = [
            number
            for number, asks in senders.items()
            if useful[number]
            and number not in asked_again
            and all(ask.peer_id != peer_id and _are_crumbs(ask, now, rate) for ask in asks)
        ]
        return min(found, key=lambda number: senders[number][0].received_bytes, default=None)

    def _is_still(self, now: float) -> bool:
        """True if no chunk has come for a while, of those that are asked for."""
        since = min((ask.asked_at for ask in self._asks), default=now)
        return now - max(since, self._last_came_at or since) >= _STILL_SECONDS

    def _may_waste_one_more(self, copied: set[int | None]) -> bool:
        expected = self.wasted_bytes + CHUNK_BYTES * len(copied - {None})
        return expected + CHUNK_BYTES <= self._most_waste

    def _end_rivals(self, number: int) -> None:
        """End the calls that bring a chunk which isn't needed any more."""
        for ask in self._asks:
            if ask.chunk == number:
                ask.give_up()
        self._end_idle_calls(number)

    def _end_idle_calls(self, number: int) -> None:
        """End calls that wait in queues for this chunk, and for nothing else that nobody sends yet."""
        left = self._needed.copy()
        left[self._coming] = False
        for ask in self._asks:
            if ask.chunk is None and number in ask.numbers and not left[ask.array].any():
                ask.give_up()

    @property
    def _coming(self) -> list[int]:
        """What peers are sending just now."""
        return [ask.chunk for ask in self._asks if ask.chunk is not None]


def is_worth_a_copy(ask: Ask, now: float, rate: float | None) -> bool:
    """Would another peer, which brings `rate` bytes per second, send the chunk much sooner?"""
    seconds = now - ask.named_at
    if seconds < _SLOW_SECONDS or rate is None or rate <= 0:
        return False
    left = CHUNK_BYTES - ask.received_bytes
    return left / max(1.0, ask.received_bytes / seconds) > 2 * CHUNK_BYTES / rate + 1.0


def _are_crumbs(ask: Ask, now: float, rate: float | None) -> bool:
    """Does hardly anything come of a chunk, also next to what another peer would bring?"""
    seconds = now - ask.named_at
    if seconds < _CRUMBS_SECONDS or ask.received_bytes > CHUNK_BYTES // 2:
        return False
    least = min(_CRUMBS_BYTES_PER_SECOND, math.inf if rate is None else rate / _CRUMBS_PART)
    return ask.received_bytes / seconds < least


def _in_one_bitmap(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those that one request can name."""
    near: NDArray[np.int64] = numbers[numbers < numbers.min() + MOST_CHUNKS]
    return near

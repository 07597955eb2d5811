"""Plan and choice together, without sockets and clocks: who sends what to whom, and how long it takes.

A line sends one chunk after the other, each in one unit of time; what waits, waits in a queue. News of what a
peer has got is there at once.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from p2pinfer.model.layer_store.chunks import CHUNK_BYTES
from p2pinfer.sharing import bitmaps
from p2pinfer.sharing.bitmaps import Mask
from p2pinfer.sharing.fetch.ask import Ask
from p2pinfer.sharing.fetch.plan import Plan
from p2pinfer.sharing.give.choice import Choice
from p2pinfer.types import PeerId

CALLS = 3
SECONDS_PER_CHUNK = 0.4  # 20 Mbit/s
LOOK_SECONDS = 0.1


@dataclass(eq=False)
class Member:
    """A peer: what it holds and gives, and what it fetches."""

    peer_id: PeerId
    held: Mask
    choice: Choice
    plan: Plan | None = None
    queue: deque[tuple[Member, Ask]] = field(default_factory=deque)
    is_sending: bool = False
    calls: dict[PeerId, int] = field(default_factory=dict)
    received_chunks: int = 0


class PaperSwarm:
    """A seeder, and joiners with shares of its chunks."""

    def __init__(self, total: int, shares: list[range], seed: int = 0) -> None:
        self.draw = random.Random(seed)
        self.now = 0.0
        self._events: list[tuple[float, int, tuple[Member, Member, Ask]]] = []
        self._order = itertools.count()
        self.seeder = self._member("seeder", total)
        self.seeder.held[:] = True
        self.joiners = [self._member(f"joiner-{at}", total) for at in range(len(shares))]
        for joiner, share in zip(self.joiners, shares, strict=True):
            joiner.plan = Plan(total, len(share) * CHUNK_BYTES, random.Random(self.draw.random()))
            joiner.plan.need(share)
            joiner.plan.offered(self.seeder.held)

    def _member(self, name: str, total: int) -> Member:
        return Member(PeerId(name), bitmaps.empty(total), Choice(total, self.draw.random))

    def run(self) -> float:
        """Fetch until all joiners have their shares; returns the time of that."""
        looks_at = 0.0
        while any(joiner.plan is not None and joiner.plan.needed.any() for joiner in self.joiners):
            if not self._events or self._events[0][0] >= looks_at:
                self.now = looks_at
                looks_at += LOOK_SECONDS
                for joiner in self.draw.sample(self.joiners, len(self.joiners)):
                    for holder in (self.seeder, *self.joiners):
                        self._ask(joiner, holder)
                assert self.now < 10_000
            else:
                self.now, _, (sender, joiner, ask) = heapq.heappop(self._events)
                self._sent(sender, joiner, ask)
                self._ask(joiner, sender)
        return self.now

    def _ask(self, joiner: Member, holder: Member) -> None:
        assert joiner.plan is not None
        while holder is not joiner and joiner.calls.get(holder.peer_id, 0) < CALLS:
            ask = joiner.plan.ask(holder.peer_id, holder.held, self.now)
            if ask is None:
                return
            joiner.calls[holder.peer_id] = joiner.calls.get(holder.peer_id, 0) + 1
            holder.queue.append((joiner, ask))
            self._send_next(holder)

    def _send_next(self, sender: Member) -> None:
        while sender.queue and not sender.is_sending:
            joiner, ask = sender.queue.popleft()
            assert joiner.plan is not None
            number = None
            if not ask.is_over:
                wanted = bitmaps.mask_of(ask.numbers, len(sender.held))
                number = sender.choice.pick(wanted & sender.held)
            if number is None or not joiner.plan.named(ask, number, self.now):
                joiner.plan.failed(ask)
                joiner.calls[sender.peer_id] -= 1
                continue
            sender.choice.times_sent[number] += 1
            sender.is_sending = True
            event = (self.now + SECONDS_PER_CHUNK, next(self._order), (sender, joiner, ask))
            heapq.heappush(self._events, event)

    def _sent(self, sender: Member, joiner: Member, ask: Ask) -> None:
        assert joiner.plan is not None and ask.chunk is not None
        joiner.calls[sender.peer_id] -= 1
        joiner.received_chunks += 1
        if joiner.plan.came(ask, self.now):
            joiner.held[ask.chunk] = True
            for other in self.joiners:
                if other is not joiner and other.plan is not None:
                    other.plan.offered(bitmaps.mask_of([ask.chunk], len(joiner.held)))
        sender.is_sending = False
        self._send_next(sender)


def test_one_joiner_has_the_whole_line():
    """And gets each chunk once."""
    swarm = PaperSwarm(50, [range(50)])
    assert swarm.run() <= 50 * SECONDS_PER_CHUNK + 1.0
    assert np.array_equal(swarm.seeder.choice.times_sent, np.ones(50))


def test_ten_joiners_of_one_share_need_little_longer_than_one():
    """With lines like the seeder's, which sends each chunk little more than once."""
    swarm = PaperSwarm(40, [range(40)] * 10)
    alone_seconds = 40 * SECONDS_PER_CHUNK

    assert swarm.run() <= 1.25 * alone_seconds
    assert swarm.seeder.choice.times_sent.min() == 1
    assert swarm.seeder.choice.times_sent.mean() <= 1.25
    assert all(joiner.received_chunks <= 1.05 * 40 for joiner in swarm.joiners)


def test_joiners_of_different_shares_use_the_seeders_line_all_the_time():
    """Nobody else has what they need."""
    swarm = PaperSwarm(100, [range(at, at + 10) for at in range(0, 100, 10)])

    assert swarm.run() <= 100 * SECONDS_PER_CHUNK / 0.9
    assert np.array_equal(swarm.seeder.choice.times_sent, np.ones(100))


def test_shares_that_overlap_are_exchanged_too():
    """Each half of the swarm has what the other needs in part."""
    swarm = PaperSwarm(90, [range(60), range(30, 90)] * 4)

    assert swarm.run() <= 1.3 * 90 * SECONDS_PER_CHUNK
    assert swarm.seeder.choice.times_sent.mean() <= 1.3

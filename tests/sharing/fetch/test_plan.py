"""Which chunks are asked of whom: the rarest first, nothing twice, and little in vain at the end."""

from __future__ import annotations

import random
from collections.abc import Iterable

from p2pinfer.model.layer_store.chunks import CHUNK_BYTES
from p2pinfer.sharing import bitmaps
from p2pinfer.sharing.fetch.ask import Ask
from p2pinfer.sharing.fetch.plan import MOST_NUMBERS, Plan
from p2pinfer.types import PeerId

A, B, C = PeerId("A"), PeerId("B"), PeerId("C")


class Asking:
    """A plan for chunks [0, needed) of `total`, and peers that hold some."""

    def __init__(self, needed: int, total: int | None = None, seed: int = 0) -> None:
        self.total = total or needed
        self.plan = Plan(self.total, needed * CHUNK_BYTES, random.Random(seed))
        self.plan.need(range(needed))
        self.held: dict[PeerId, bitmaps.Mask] = {}
        self.now = 0.0

    def hold(self, peer: PeerId, numbers: Iterable[int]) -> None:
        """A peer announces chunks."""
        mask = bitmaps.mask_of(numbers, self.total)
        self.plan.offered(mask)
        self.held[peer] = mask | self.held.get(peer, bitmaps.empty(self.total))

    def ask(self, peer: PeerId, rate: float | None = None) -> Ask | None:
        return self.plan.ask(peer, self.held[peer], self.now, rate)

    def asked(self, peer: PeerId, rate: float | None = None) -> Ask:
        ask = self.ask(peer, rate)
        assert ask is not None
        return ask

    def begin(self, peer: PeerId, number: int | None = None) -> Ask:
        """A peer begins to send one of those that it is asked for."""
        ask = self.asked(peer)
        number = min(ask.numbers) if number is None else number
        assert self.plan.named(ask, number, self.now)
        return ask


def test_what_few_hold_comes_first():
    """If the only holder leaves, nobody has it."""
    asking = Asking(30)
    asking.hold(A, range(30))
    asking.hold(B, range(15))

    assert asking.asked(A).numbers <= frozenset(range(15, 30))


def test_only_what_is_needed_and_held_is_asked_for():
    """The model has other chunks, and the peer has others too."""
    asking = Asking(10, total=20)
    asking.hold(A, [3, 15])

    assert asking.asked(A).numbers == {3}
    assert asking.ask(A) is None


def test_with_few_chunks_left_peers_are_asked_for_different_ones():
    """The same chunk would come twice."""
    asking = Asking(4)
    asks = []
    for peer in (A, B, C):
        asking.hold(peer, range(4))
        asks.append(asking.asked(peer))
    more = [ask for peer in (A, B, C) if (ask := asking.ask(peer))]

    named = [number for ask in (*asks[1:], *more) for number in ask.numbers if len(ask.numbers) == 1]
    assert len(named) == len(set(named))


def test_what_comes_already_is_not_asked_of_another():
    """However many are left."""
    asking = Asking(40)
    asking.hold(A, range(40))
    asking.hold(B, range(40))
    coming = asking.begin(A)

    assert coming.chunk not in asking.asked(B).numbers


def test_of_two_that_choose_the_same_one_is_ended():
    """The second to name it, after it waited in a queue."""
    asking = Asking(1)
    asking.hold(A, [0])
    asking.hold(B, [0])
    one = asking.asked(A)
    asking.now = 1.0
    other = asking.asked(B)

    assert asking.plan.named(one, 0, asking.now)
    assert not asking.plan.named(other, 0, asking.now)


def test_requests_to_many_idle_peers_name_different_chunks():
    """Each of them begins to send at once: what two of them send is wasted."""
    asking = Asking(134)
    asks = []
    for number in range(10):
        peer = PeerId(str(number))
        asking.hold(peer, range(134))
        asks.append(asking.asked(peer))

    assert sum(len(ask.numbers) for ask in asks) == len(frozenset.union(*(ask.numbers for ask in asks)))
    assert all(len(ask.numbers) > 1 for ask in asks)


def test_what_a_sender_did_not_choose_is_free_again():
    """It names one; the others may be asked of the next peer."""
    asking = Asking(3)
    asking.hold(A, range(3))
    asking.hold(B, range(3))
    asking.begin(A)

    rest = {number for _ in range(2) for number in asking.begin(B).numbers}
    assert len(rest) == 2


def test_a_chunk_that_was_asked_for_in_vain_is_asked_of_another():
    """The first peer broke off."""
    asking = Asking(1)
    asking.hold(A, [0])
    asking.hold(B, [0])
    ask = asking.begin(A)
    ask.received_bytes = 1000
    assert asking.ask(B) is None
    asking.plan.failed(ask)

    assert asking.asked(B).numbers == {0}
    assert asking.plan.wasted_bytes == 1000


def test_a_request_has_a_bounded_size():
    """A client may want a whole huge model."""
    asking = Asking(bitmaps.MOST_CHUNKS * 2)
    asking.hold(A, range(asking.total))

    numbers = asking.asked(A).numbers
    assert 0 < len(numbers) <= MOST_NUMBERS
    assert max(numbers) - min(numbers) < bitmaps.MOST_CHUNKS


def test_what_waits_in_a_queue_is_taken_over_by_who_is_free():
    """It costs nothing: the queue's call ends as soon as it names what comes from elsewhere."""
    asking = Asking(1)
    asking.hold(A, [0])
    asking.hold(B, [0])
    queued = asking.asked(A)
    assert asking.ask(B) is None
    asking.now = 1.5
    taken = asking.begin(B)

    assert not asking.plan.named(queued, 0, asking.now)
    assert asking.plan.came(taken, asking.now)
    assert not asking.plan.needed.any()


def test_a_call_that_waits_for_nothing_needed_is_ended():
    """Its place in the queue is for others."""
    asking = Asking(1)
    asking.hold(A, [0])
    asking.hold(B, [0])
    queued, ended = asking.asked(A), []
    queued.end = lambda: ended.append(queued)
    asking.now = 1.5
    asking.begin(B)

    assert ended == [queued] and queued.is_over


def slow_sender(needed: int) -> tuple[Asking, Ask]:
    """A peer sends the last chunk, and has sent a tenth of it after 4 seconds."""
    asking = Asking(needed)
    asking.hold(A, range(needed))
    asking.hold(B, range(needed))
    for _ in range(needed - 1):
        asking.plan.came(asking.begin(B), asking.now)
    slow = asking.begin(A)
    slow.received_bytes = CHUNK_BYTES // 10
    asking.now = 4.0
    return asking, slow


def test_the_last_chunk_of_a_slow_peer_is_asked_of_a_fast_one_too():
    """When it has come, the slow call is ended; its bytes are wasted."""
    asking, slow = slow_sender(100)
    copy = asking.ask(B, rate=CHUNK_BYTES)
    assert copy is not None and copy.numbers == {slow.chunk}
    assert slow.chunk is not None
    assert asking.plan.named(copy, slow.chunk, asking.now)
    assert asking.ask(B, rate=CHUNK_BYTES) is None  # once is enough
    assert asking.plan.came(copy, asking.now)

    assert slow.is_over
    asking.plan.failed(slow)
    assert asking.plan.wasted_bytes == CHUNK_BYTES // 10


def test_a_copy_must_be_worth_it():
    """Not of a peer whose speed isn't known, or that is no faster; nor when too much was wasted already."""
    asking, _ = slow_sender(100)
    assert asking.ask(B, rate=None) is None
    assert asking.ask(B, rate=CHUNK_BYTES / 60) is None

    wasteful, _ = slow_sender(100)
    wasteful.plan.wasted_bytes = 4 * CHUNK_BYTES
    assert wasteful.ask(B, rate=CHUNK_BYTES) is None


def crumbs(needed: int) -> tuple[Asking, list[Ask]]:
    """Peer A has begun to send all that is needed, and sends next to nothing. B holds it too."""
    asking = Asking(needed)
    asking.hold(A, range(needed))
    asking.hold(B, range(needed))
    asks = [asking.begin(A) for _ in range(needed)]
    for ask in asks:
        ask.received_bytes = 50_000
    asking.now = 6.0
    return asking, asks


def test_what_comes_in_crumbs_is_asked_of_another_whatever_was_wasted():
    """Also of one whose speed nobody knows; and the crumbs end as soon as it begins to send."""
    asking, asks = crumbs(10)
    asking.plan.wasted_bytes = 100 * CHUNK_BYTES
    while asking.plan.needed.any():
        copy = asking.ask(B, rate=CHUNK_BYTES)
        assert copy is not None and copy.copies is not None
        [slow] = [ask for ask in asks if ask.chunk == copy.copies]
        assert asking.plan.named(copy, copy.copies, asking.now) and slow.is_over
        asking.plan.failed(slow)
        assert asking.plan.came(copy, asking.now)


def test_who_sends_crumbs_is_not_asked_instead_of_another():
    """It would hold up the same chunk again; and one that is asked and says nothing holds it for seconds."""
    asking, asks = crumbs(2)
    asking.hold(C, range(2))
    copies = [asking.asked(C, CHUNK_BYTES), asking.asked(C, CHUNK_BYTES)]
    assert asking.ask(B, CHUNK_BYTES) is None
    asking.now += 6.0
    assert asking.asked(B, CHUNK_BYTES).copies in {ask.chunk for ask in asks}

    assert asking.plan.named(copies[0], min(copies[0].numbers), asking.now)
    [ended] = [ask for ask in asks if ask.is_over]
    asking.plan.failed(ended)
    asking.now += 6.0
    assert asking.ask(A, CHUNK_BYTES) is None


def test_on_a_slow_line_nothing_is_asked_twice():
    """All calls bring little then: a peer that brings no more, or that nobody knows, changes nothing."""
    asking, _ = crumbs(10)
    asking.plan.wasted_bytes = 100 * CHUNK_BYTES
    assert asking.ask(B, rate=10_000) is None
    assert asking.ask(B, rate=None) is None

    asking.now = 16.0  # and no chunk has come
    assert asking.asked(B, rate=None).replaces


def test_when_nothing_comes_the_allowance_is_forgotten():
    """A peer that sent most of a chunk and then stops would hold it else."""
    asking, slow = slow_sender(100)
    slow.received_bytes = CHUNK_BYTES * 3 // 4
    asking.plan.wasted_bytes = 100 * CHUNK_BYTES
    asking.now = 9.0
    assert asking.ask(B, rate=CHUNK_BYTES) is None
    asking.now = 60.0
    assert asking.asked(B, rate=CHUNK_BYTES).copies == slow.chunk


def test_what_comes_another_way_is_asked_of_nobody():
    """A file that is converted; if that fails, it's needed again."""
    asking = Asking(4)
    asking.hold(A, range(4))
    coming = asking.begin(A)
    assert coming.chunk is not None
    asking.plan.drop(range(4))
    assert coming.is_over and asking.ask(A) is None
    assert not asking.plan.came(coming, asking.now)

    asking.plan.need([2])
    assert asking.asked(A).numbers == {2}


def test_a_whole_swarm_of_requests_leaves_nothing_out():
    """Peers that hold different parts, some of which fail: in the end everything has come, once."""
    draw = random.Random(5)
    asking = Asking(60, total=80)
    for peer in (A, B, C):
        asking.hold(peer, [number for number in range(80) if draw.random() < 0.7 or peer == A])
    came: list[int] = []
    open_asks: list[Ask] = []
    while asking.plan.needed.any():
        asking.now += 0.1
        peer = draw.choice([A, B, C])
        ask = asking.ask(peer)
        if ask is not None and asking.plan.named(ask, draw.choice(sorted(ask.numbers)), asking.now):
            open_asks.append(ask)
        elif ask is not None:
            asking.plan.failed(ask)
        if open_asks and draw.random() < 0.7:
            ask = open_asks.pop(draw.randrange(len(open_asks)))
            if draw.random() < 0.2:
                asking.plan.failed(ask)
            elif asking.plan.came(ask, asking.now):
                assert ask.chunk is not None
                came.append(ask.chunk)
    assert sorted(came) == list(range(60))

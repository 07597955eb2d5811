"""When a running server goes to other layers: what it announces, fetches and says on the way. No sockets."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from types import SimpleNamespace, TracebackType
from typing import Any, Self

import pytest

from p2pinfer.errors import StoreError, SwarmError
from p2pinfer.identity import Identity
from p2pinfer.server.layers import mover as mover_module
from p2pinfer.server.layers.lookout import Lookout
from p2pinfer.server.layers.mover import Mover
from p2pinfer.server.placement.choice import Sizes
from p2pinfer.server.placement.moving import MOST_MOVES_PER_HOUR, MOST_YIELDS, Move
from p2pinfer.server.placement.settling import rank_of
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.types import LayerSeconds, PeerId, Span
from tests.server.wire_client import until
from tests.swarm.conftest import MODEL, describe

US = Identity.ephemeral()
HOME = Span(0, 10)
LOOKS = 8
"""A server that stays has looked so often; more is not waited for."""


def server(start: int, end: int, *, state: ServerState = ServerState.SERVING, **changes: Any) -> Announcement:
    fields = {"layers": Span(start, end), "state": state, "decode": LayerSeconds(0.01)}
    return describe(Identity.ephemeral(), **(fields | changes))


class RollCall:
    """Everybody answers who isn't named a phantom; the slow do within three seconds."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def call(self, records: Sequence[Announcement], wait_seconds: float) -> Mapping[PeerId, bool]:
        silent = ("phantom",) if wait_seconds >= 3.0 else ("phantom", "slow")
        return {record.peer_id: not record.public_name.startswith(silent) for record in records}


class Town:
    """A swarm whose records change while a server considers a move."""

    peer_id = US.peer_id

    def __init__(self, *records: Announcement, leaves_at: float | None = None) -> None:
        self.records = list(records)
        self.reads = 0
        self.changes: dict[int, Sequence[Announcement]] = {}  # before this reading
        self.fails_at: set[int] = set()
        self.announced: list[tuple[Span | None, bool]] = []
        self.fetched: list[Span] = []
        self.fetch_error: Exception | None = None
        self.moved_at: list[float] = []
        self.said: list[str] = []
        self.chance = 0.0  # no pause between two looks
        self._enough = asyncio.Event()
        store: Any = SimpleNamespace(
            manifest=SimpleNamespace(hash=MODEL, num_layers=30), has=lambda name: False
        )
        watched: Any = self
        lookout = Lookout(watched, store, numerics="reference-1", sizes=Sizes.exactly(10))
        lookout.roll_call = RollCall  # type: ignore[method-assign,assignment]
        self.mover = Mover(
            lookout,
            HOME,
            seconds_per_layer=lambda: 0.01,
            leaves_at=lambda: leaves_at,
            fetch=self.fetch,
            moved_at=self.moved_at,
            say=self.said.append,
            chance=lambda: self.chance,
        )

    async def servers(self, model: str) -> Sequence[Announcement]:
        self.reads += 1
        if self.reads >= LOOKS:
            self._enough.set()
        if self.reads in self.fails_at:
            raise SwarmError("no peer answers")
        self.records = list(self.changes.get(self.reads, self.records))
        return self.records

    async def announce(self) -> None:
        self.announced.append((self.mover.moves_to, self.mover.is_undecided))

    async def fetch(self, span: Span) -> None:
        self.fetched.append(span)
        if self.fetch_error is not None:
            self.chance = 1.0  # the next pause is as long as it can be
            raise self.fetch_error

    async def move(self) -> Move | None:
        """Where the server goes; None if it has stayed for some looks."""
        waiting = asyncio.create_task(self.mover.wait(self.announce))
        enough = asyncio.create_task(self._enough.wait())
        await asyncio.wait({waiting, enough}, timeout=30.0, return_when=asyncio.FIRST_COMPLETED)
        enough.cancel()
        if waiting.done():
            return waiting.result()
        waiting.cancel()
        return None


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mover_module, "LOOK_SECONDS", 0.001)


def gap(*more: Announcement) -> list[Announcement]:
    """Layers 20:30 have no server; ours have another."""
    return [server(0, 10), server(10, 20), *more]


async def test_a_server_fills_a_gap_and_says_so_before():
    town = Town(*gap())
    move = await town.move()

    assert move is not None and move.span == Span(20, 30)
    assert town.announced == [(Span(20, 30), True), (Span(20, 30), False)]
    assert town.fetched == [Span(20, 30)]
    assert town.said == ["moving from layers 0:10 to 20:30: 10 of them have no other server"]
    assert len(town.moved_at) == 1


async def test_a_record_of_nobody_keeps_no_gap_open():
    town = Town(*gap(*(server(20, 30, public_name=f"phantom {number}") for number in range(5))))

    assert await town.move() is not None


async def test_where_all_is_well_it_stays_and_says_nothing():
    town = Town(*gap(server(20, 30)))

    assert await town.move() is None
    assert (town.announced, town.said, town.fetched) == ([], [], [])


async def test_it_stays_when_another_has_claimed_the_gap_before_the_second_look():
    town = Town(*gap())
    town.changes[2] = gap(server(20, 30, state=ServerState.JOINING))

    assert await town.move() is None
    assert town.announced == [(Span(20, 30), True), (None, False)]
    assert not town.fetched


@pytest.mark.parametrize("better", [True, False])
async def test_of_two_that_want_the_same_layers_the_one_of_better_rank_goes(better: bool):
    now = time.time()
    identities = iter(Identity.ephemeral, None)
    ours = rank_of(US.peer_id, MODEL, now)
    rival = next(one for one in identities if (rank_of(one.peer_id, MODEL, now) < ours) is better)
    wants = describe(rival, layers=HOME, moves_to=Span(20, 30), is_undecided=True, decode=LayerSeconds(0.01))
    town = Town(*gap(wants))

    assert (await town.move() is None) is better
    assert town.announced[:2] == [(Span(20, 30), True), (None if better else Span(20, 30), False)]


async def test_a_rival_of_worse_rank_that_has_decided_before_it_saw_us_goes_alone():
    """Its decision takes a while to spread: at our second look it is still undecided."""
    ours = rank_of(US.peer_id, MODEL, time.time())
    rival = next(
        one for one in iter(Identity.ephemeral, None) if rank_of(one.peer_id, MODEL, time.time()) > ours
    )
    fields: dict[str, Any] = {"layers": HOME, "moves_to": Span(20, 30), "decode": LayerSeconds(0.01)}
    town = Town(*gap())
    town.changes[2] = gap(describe(rival, **fields, is_undecided=True))
    town.changes[3] = gap(describe(rival, **fields))

    assert await town.move() is None
    assert town.announced == [(Span(20, 30), True), (None, False)]
    assert not town.fetched


async def test_one_that_wants_to_move_for_ever_stops_nobody(monkeypatch: pytest.MonkeyPatch):
    """A rank is a hash: a stranger has soon found one that is better than everybody's."""
    monkeypatch.setattr(sys.modules[__name__], "LOOKS", 2 * (MOST_YIELDS + 2))
    now = time.time()
    identities = iter(Identity.ephemeral, None)
    ours = rank_of(US.peer_id, MODEL, now)
    liar = next(one for one in identities if rank_of(one.peer_id, MODEL, now) < ours)
    wants = describe(liar, layers=HOME, moves_to=Span(20, 30), is_undecided=True, decode=LayerSeconds(0.01))
    town = Town(*gap(wants))

    assert await town.move() is not None
    assert town.announced.count((None, False)) == MOST_YIELDS


async def test_one_that_is_on_its_way_counts_where_it_goes():
    there = server(0, 10, moves_to=Span(20, 30))
    town = Town(server(0, 10), server(10, 20), there)

    assert await town.move() is None


async def test_it_does_not_leave_when_the_others_have_left_meanwhile():
    """What was fetched stays on the disk; the layers keep their last server."""
    town = Town(server(0, 10), *(server(10, 20) for _ in range(2)), server(0, 10), server(20, 30))
    town.changes[1] = [
        *(server(0, 10) for _ in range(4)),
        *(server(10, 20) for _ in range(4)),
        server(20, 30),
    ]
    town.changes[3] = [*(server(10, 20) for _ in range(4)), server(20, 30)]

    assert await town.move() is None
    assert town.fetched == [Span(20, 30)]
    assert town.said[-1] == "staying with layers 0:10: others that had them have left"
    assert town.announced[-1] == (None, False)


async def test_others_that_are_not_seen_for_a_moment_have_not_left():
    town = Town(*gap())
    town.changes[3] = [server(10, 20)]
    town.changes[4] = gap()

    move = await town.move()

    assert move is not None and move.span == Span(20, 30)
    assert not any(line.startswith("staying") for line in town.said)


async def test_the_slow_to_answer_have_not_left():
    town = Town(*gap(server(20, 30, public_name="slow")))
    assert await town.move() is None
    assert not town.said


async def test_it_stays_when_the_files_cannot_be_had_and_does_not_ask_again_soon():
    town = Town(*gap())
    town.fetch_error = StoreError("the disk is full")
    waiting = asyncio.create_task(town.mover.wait(town.announce))
    await until(lambda: town.said[-1:] == ["staying with layers 0:10: the disk is full"])
    await until(lambda: town.announced[-1] == (None, False))
    await asyncio.sleep(0.1)  # many looks
    waiting.cancel()

    assert town.announced[-1] == (None, False)
    assert town.said[-1] == "staying with layers 0:10: the disk is full"
    assert town.reads == 2


async def test_a_swarm_that_cannot_be_read_changes_nothing():
    town = Town(*gap())
    town.fails_at = {1, 2}

    assert await town.move() is not None


async def test_a_server_that_leaves_soon_or_moved_often_stays():
    soon = Town(*gap(), leaves_at=time.time() + 60.0)
    tired = Town(*gap())
    tired.moved_at += [time.time() - 60.0] * MOST_MOVES_PER_HOUR
    for town in (soon, tired):
        waiting = asyncio.create_task(town.mover.wait(town.announce))
        for _ in range(20):
            await asyncio.sleep(0)
        waiting.cancel()
        assert town.reads == 0

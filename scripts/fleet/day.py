"""The life of a fleet, event by event: machines come, claim, settle, fetch, serve, look around, move and
leave.

What a server announces is seen by all others a moment later. Nothing else is uncertain: no server lies, and
those that left without a word stay on the board for up to a minute.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from p2pinfer.backoff import jittered
from p2pinfer.server.placement.choice import Newcomer
from p2pinfer.server.placement.moving import Intention, leaves_no_gap, may_go, may_move_again
from p2pinfer.server.placement.settling import LOOK_SECONDS, Claim, Looks
from p2pinfer.swarm.census.strength import expected_stay
from p2pinfer.types import Span
from scripts.fleet.board import Board, Entry
from scripts.fleet.machines import Machine, Model
from scripts.fleet.rules import Rule
from scripts.fleet.service import Service
from scripts.fleet.stays import DRAIN_SECONDS, Stay

Event: TypeAlias = tuple[float, int, Callable[[], None]]

SEEN_SECONDS = (0.05, 0.5)
"""Until a record has spread."""
RECORD_SECONDS = 60.0
_ANSWERS_SECONDS = 1.0
_MEASURED_SECONDS = 60.0
_SESSION_SECONDS = 15.0  # until a session has moved to other servers, on average
_DISK_BYTES_PER_SECOND = 1e9
_REFRESH_SECONDS = 30.0


@dataclass(slots=True)
class Server:
    """A machine in the fleet."""

    machine: Machine
    slot: int  # within its model
    held: NDArray[np.bool_]  # the layers on its disk
    stay: Stay | None = None  # None: it isn't there
    layers: Span | None = None
    is_serving: bool = False
    is_measured: bool = False
    claim: Claim | None = None
    intention: Intention | None = None
    is_going: bool = False  # what it intends is decided
    looks: Looks = field(default_factory=Looks)
    moved_at: list[float] = field(default_factory=list)
    entries: int = 0  # how many it has announced
    seen_at: float = 0.0  # when the latest has spread
    seen_version: int = -1  # of the board, at the last look: what it said needn't be computed again
    chooser: Newcomer | None = None  # until more files come

    def newcomer(self) -> Newcomer:
        """As one that chooses, with the rate that it really has."""
        if self.chooser is None:
            self.chooser = Newcomer(
                peer_id=self.machine.peer_id,
                model=self.machine.model.hash,
                sizes=self.machine.sizes,
                layer_rate=self.machine.layer_rate,
                held=frozenset(np.flatnonzero(self.held).tolist()),
            )
        return self.chooser


@dataclass(frozen=True, slots=True)
class Cell:
    """One model's servers: what they see, and what they hold."""

    model: Model
    board: Board
    service: Service


class Fleet:
    """Runs on a virtual clock, in seconds since midnight of the first day. Deterministic by its seed."""

    def __init__(self, machines: Sequence[Machine], rule: Rule, begins_at: float, seed: int) -> None:
        self._rule = rule
        self._chance = random.Random(f"events {seed}")
        self._events: list[Event] = []
        self._order = count()
        self.now = begins_at
        numbers: dict[str, int] = {}
        servers = []
        for machine in machines:
            model = machine.model
            slot = numbers.setdefault(model.hash, 0)
            numbers[model.hash] += 1
            servers.append(Server(machine, slot, np.zeros(model.num_layers, dtype=np.bool_)))
        self.cells = {
            model.hash: Cell(
                model, Board(model.num_layers, numbers[model.hash], rule.weigh), Service(model.num_layers)
            )
            for model in {server.machine.model.hash: server.machine.model for server in servers}.values()
        }
        for cell in self.cells.values():
            cell.service.forget(begins_at)
        for server in servers:
            for stay in server.machine.stays:
                if stay.ends_at > begins_at + 2 * DRAIN_SECONDS:
                    at = max(stay.begins_at, begins_at + self._chance.uniform(0.0, 300.0))
                    self._at(at, self._comes, server, stay)
        self._at(begins_at, self._refreshes)

    def run(self, until: float) -> None:
        """Let time pass. Events of that moment happen in the next run."""
        while self._events and self._events[0][0] < until:
            self.now, _, event = heapq.heappop(self._events)
            event()
        self.now = until
        for cell in self.cells.values():
            cell.service.advance(until)

    def measure_from_now(self) -> None:
        """Forget what was measured until now."""
        for cell in self.cells.values():
            cell.service.forget(self.now)

    # Coming and going

    def _comes(self, server: Server, stay: Stay) -> None:
        if stay.ends_at < self.now + 2 * DRAIN_SECONDS or server.stay is not None:
            return
        server.stay, server.layers, server.is_measured = stay, None, False
        server.looks, server.moved_at = Looks(), []
        cell = self._cell(server)
        cell.service.came(self.now, server.machine.layer_rate, server.machine.sizes.most)
        cell.service.tally().joins += 1
        self._at(stay.ends_at - (0.0 if stay.is_abrupt else DRAIN_SECONDS), self._leaves, server)
        self._later(server, _ANSWERS_SECONDS, self._chooses)

    def _leaves(self, server: Server) -> None:
        """It takes no more sessions. With a drain it says so."""
        assert server.stay is not None
        stay, cell = server.stay, self._cell(server)
        self._stops(server)
        cell.service.came(self.now, server.machine.layer_rate, server.machine.sizes.most, -1)
        if stay.is_abrupt:
            gone_at = self.now + self._chance.uniform(0.0, RECORD_SECONDS)
        else:
            gone_at = stay.ends_at
            if server.layers is not None:
                entry = Entry(
                    layers=server.layers, layer_rate=self._rate(server), leaves_at=gone_at, is_awaited=False
                )
                self._says(server, entry)
        self._at(max(gone_at, server.seen_at), self._is_forgotten, server, server.entries)
        server.stay = server.layers = server.claim = server.intention = None
        server.is_going = False

    def _is_forgotten(self, server: Server, entries: int) -> None:
        """Its last record has expired, unless it is back already."""
        if server.entries == entries:
            self._cell(server).board.drop(server.slot)

    # Joining

    def _chooses(self, server: Server) -> None:
        board, stay = self._cell(server).board, self._stay(server)
        server.layers = self._rule.chosen(board, server.slot, server.newcomer(), stay.leaves_at, self.now)
        if self._rule.settles:
            self._claims(server)
            self._later(server, jittered(LOOK_SECONDS, self._chance.random), self._settles)
        else:
            self._fetches(server)

    def _claims(self, server: Server) -> None:
        """Say that these layers are wanted, and that others may be chosen."""
        assert server.layers is not None
        board, stay = self._cell(server).board, self._stay(server)
        server.claim = Claim(
            peer_id=server.machine.peer_id,
            model=server.machine.model.hash,
            layers=server.layers,
            layer_rate=board.typical_rate * expected_stay(stay.leaves_at, self.now),
            announced_at=self.now,
        )
        self._announces(server)

    def _settles(self, server: Server) -> None:
        board, stay = self._cell(server).board, self._stay(server)
        assert server.claim is not None
        layers = self._rule.settled(
            board, server.slot, server.newcomer(), stay.leaves_at, server.claim, self.now
        )
        others = [claim for slot, claim in board.claims.items() if slot != server.slot]
        moved, server.layers = layers != server.layers, layers
        if server.looks.are_enough(others, moved=moved):
            server.claim = None
            self._fetches(server)
            return
        if moved:
            self._claims(server)
        self._later(server, jittered(LOOK_SECONDS, self._chance.random), self._settles)

    def _fetches(self, server: Server) -> None:
        """Fetch what is missing, load, and serve."""
        self._announces(server)
        assert server.layers is not None
        self._later(server, self._fetch_seconds(server, server.layers) + _load_seconds(server), self._serves)

    def _serves(self, server: Server) -> None:
        assert server.layers is not None
        server.is_serving = True
        self._cell(server).service.serves(self.now, server.layers, server.machine.layer_rate)
        self._announces(server)
        if not server.is_measured:
            self._later(server, _MEASURED_SECONDS, self._is_measured)
        self._waits(server)

    def _is_measured(self, server: Server) -> None:
        server.is_measured = True
        self._announces(server)

    # Moving

    def _waits(self, server: Server) -> None:
        """Look around in a while."""
        seconds = self._rule.look_seconds(self._cell(server).board.servers, self._chance.random)
        if seconds is not None:
            self._later(server, seconds, self._looks)

    def _looks(self, server: Server) -> None:
        """Look at the board, unless it is as it was at the last look."""
        layers, version, span = server.layers, self._cell(server).board.version, None
        assert layers is not None
        may_move = not self._rule.is_careful or may_move_again(server.moved_at, self.now)
        if may_move and version != server.seen_version:
            server.seen_version, span = version, self._better(server)
        if span is None:
            self._waits(server)
        elif self._rule.is_careful:
            server.intention = Intention(
                peer_id=server.machine.peer_id,
                model=server.machine.model.hash,
                origin=layers,
                target=span,
                announced_at=self.now,
            )
            self._announces(server)
            self._later(server, jittered(LOOK_SECONDS, self._chance.random), self._makes_sure)
        else:
            self._goes(server, span, drain_seconds=0.0)

    def _better(self, server: Server) -> Span | None:
        board, layers, leaves_at = self._cell(server).board, server.layers, self._stay(server).leaves_at
        assert layers is not None
        ourselves = server.newcomer()
        if not server.is_measured:
            ourselves = replace(ourselves, layer_rate=board.typical_rate)
        return self._rule.better(board, server.slot, ourselves, leaves_at, layers, self.now)

    def _makes_sure(self, server: Server) -> None:
        """The second look: another of better rank may want the same."""
        assert server.intention is not None
        board = self._cell(server).board
        others = [intention for slot, intention in board.intentions.items() if slot != server.slot]
        ours = server.intention
        if self._better(server) == ours.target and may_go(ours, others):
            server.is_going = True
            self._announces(server)
            self._later(server, self._fetch_seconds(server, server.intention.target), self._drains)
        else:
            self._keeps(server)

    def _drains(self, server: Server) -> None:
        """All files are here; go, if that still leaves no gap."""
        assert server.intention is not None
        holders = self._cell(server).board.holders_without(server.slot)
        if not leaves_no_gap(holders, server.intention.origin, server.intention.target):
            self._keeps(server)
            return
        drain_seconds = min(DRAIN_SECONDS, self._chance.expovariate(1.0 / _SESSION_SECONDS))
        self._goes(server, server.intention.target, drain_seconds=drain_seconds)

    def _keeps(self, server: Server) -> None:
        server.intention, server.is_going = None, False
        server.seen_version = -1
        self._announces(server)
        self._waits(server)

    def _goes(self, server: Server, span: Span, *, drain_seconds: float) -> None:
        self._stops(server)
        server.layers, server.intention, server.is_going = span, None, False
        server.moved_at.append(self.now)
        self._cell(server).service.tally().moves += 1
        self._announces(server)
        seconds = drain_seconds + self._fetch_seconds(server, span) + _load_seconds(server)
        self._later(server, seconds, self._serves)

    # Small parts

    def _stops(self, server: Server) -> None:
        if server.is_serving:
            assert server.layers is not None
            self._cell(server).service.serves(self.now, server.layers, server.machine.layer_rate, -1)
            server.is_serving = False

    def _fetch_seconds(self, server: Server, span: Span) -> float:
        """How long the files take that aren't on the disk; they are from now on."""
        missing = len(span) - int(server.held[span.start : span.end].sum())
        fetched = missing * server.machine.model.layer_bytes
        self._cell(server).service.tally().fetched_bytes += fetched
        if missing:
            server.held[span.start : span.end] = True
            server.chooser = None
        return fetched / server.machine.bytes_per_second

    def _announces(self, server: Server) -> None:
        """Say how things are now."""
        stay, layers, intention = self._stay(server), server.layers, server.intention
        assert layers is not None
        entry = Entry(
            layers=intention.target if intention is not None and server.is_going else layers,
            layer_rate=self._rate(server),
            leaves_at=stay.leaves_at,
            serves=server.is_serving and not server.is_going,
            claim=server.claim,
            intention=None if server.is_going else intention,
        )
        self._says(server, entry)

    def _says(self, server: Server, entry: Entry) -> None:
        """Others see the entry in a moment, and never an older one after it."""
        server.entries += 1
        server.seen_at = max(server.seen_at, self.now + self._chance.uniform(*SEEN_SECONDS))
        self._at(server.seen_at, self._cell(server).board.put, server.slot, entry)

    def _rate(self, server: Server) -> float | None:
        """As it announces it; Petals measures before it joins."""
        return server.machine.layer_rate if server.is_measured or not self._rule.settles else None

    def _at(self, at: float, event: Callable[..., None], *args: object) -> None:
        happens: Event = at, next(self._order), partial(event, *args)
        heapq.heappush(self._events, happens)

    def _later(self, server: Server, seconds: float, event: Callable[[Server], None]) -> None:
        """Something that happens only if the server hasn't left by then."""
        self._at(self.now + seconds, self._if_there, server, server.stay, event)

    def _if_there(self, server: Server, stay: Stay, event: Callable[[Server], None]) -> None:
        if server.stay is stay:
            event(server)

    def _refreshes(self) -> None:
        for cell in self.cells.values():
            cell.service.advance(self.now)
            cell.board.refresh(self.now)
        self._at(self.now + _REFRESH_SECONDS, self._refreshes)

    def _cell(self, server: Server) -> Cell:
        return self.cells[server.machine.model.hash]

    def _stay(self, server: Server) -> Stay:
        assert server.stay is not None
        return server.stay


def _load_seconds(server: Server) -> float:
    """From the disk into memory."""
    assert server.layers is not None
    return len(server.layers) * server.machine.model.layer_bytes / _DISK_BYTES_PER_SECOND

"""Tell other members of our cell whom we know, and ask them: push and pull, with a few neighbours at a time.

A question shows marks of the records that we hold, our own first. The answer has the records that we lack,
and says which of ours the other lacks: these are pushed. What is learnt is told to whoever asks for the
cell (kademlia/protocol.py: rpc_view), and joins what this member reads itself.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from p2pinfer.backoff import Chance
from p2pinfer.errors import SwarmError
from p2pinfer.plain_text import foreign
from p2pinfer.swarm.cells.keys import keys_of_cell
from p2pinfer.swarm.gossip.bounds import Bounds
from p2pinfer.swarm.gossip.marks import (
    MARK_BYTES,
    SALT_BYTES,
    marks_of,
    news_for,
    number_of,
    read_marks,
    wanted_of,
)
from p2pinfer.swarm.gossip.neighbours import BARRED_SECONDS, REFUSED_SECONDS, Neighbours
from p2pinfer.swarm.gossip.network import Network
from p2pinfer.swarm.gossip.packing import packed, unpacked
from p2pinfer.swarm.gossip.pulling import pull
from p2pinfer.swarm.gossip.table import MOST_RECORDS, Entry, Table
from p2pinfer.swarm.gossip_pb2 import GossipAnswer, GossipRequest
from p2pinfer.swarm.kademlia.validator import Record
from p2pinfer.tasks import all_of
from p2pinfer.types import PeerId

ROUND_SECONDS = 3.5
"""Between two questions; up to half as much is added by lot. So each of four neighbours is asked every 18 s:
in the last seconds of a copy (marks.SOON_SECONDS). With fewer questions copies would expire between two."""
FIRST_ROUNDS_SECONDS = (0.5, 0.5, 1.0, 1.0)
"""The same after what our record says has changed: others learn of it sooner."""
MOST_MARKS = MOST_RECORDS + 1
"""Of a question: those of a full table, and the asker's."""
GOODBYE_SECONDS = 2.0
"""That a server which leaves waits for its neighbours; others see its tombstone under the cell's keys."""

_logger = logging.getLogger(__name__)


class Gossip:
    """Of one member, for one event loop."""

    def __init__(
        self,
        network: Network,
        *,
        chance: Chance = random.random,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`now` is in Unix seconds, as records have them, `clock` in seconds of any steady clock."""
        self._network, self._chance, self._now, self._clock = network, chance, now, clock
        self.table = Table(now)
        self._bounds = Bounds()
        self._neighbours = Neighbours(clock, chance)
        self._news = asyncio.Event()

    def announce(self, own: Record, home: int) -> None:
        """Our record says where we are: in the cell at depth `home` of its tree."""
        area, before = self.table.area, self.table.own
        self.table.announce(own, home)
        now = self.table.own
        if area != self.table.area or before is None or now is None or before.content != now.content:
            self._news.set()

    def heard(self, records: Iterable[Record]) -> None:
        """Remember records that were verified elsewhere, as far as they are of members near us."""
        self.table.take(records)

    def under(self, key: bytes) -> Sequence[Record]:
        """What we know under a key of the DHT."""
        return self.table.under(key)

    async def pull(self, tree: str, cell: str, known: Collection[Record]) -> list[Record]:
        """More records of a cell, from some members of it; none if we are a member of the tree ourselves."""
        if self.table.own is not None and self.table.own.record.tree == tree:
            return []
        return await pull(self._network, tree, cell, known, self._chance)

    async def run(self) -> None:
        """Ask one neighbour after the other, while we are announced, for ever."""
        soon = iter(FIRST_ROUNDS_SECONDS)
        while True:
            try:
                async with asyncio.timeout(next(soon, ROUND_SECONDS * (1.0 + self._chance() / 2))):
                    await self._news.wait()
                self._news.clear()
                soon = iter(FIRST_ROUNDS_SECONDS)
            except TimeoutError:
                await self.ask_next()

    async def ask_next(self) -> None:
        """Ask the neighbour that was asked longest ago, if we are announced and there is one."""
        own = self.table.own
        if own is None or own.has_left:
            return
        try:
            peer = self._neighbours.next(*self._candidates())
            if peer is not None and (seconds := await self._ask(peer, own)):
                self._neighbours.bar(peer, seconds)
        except SwarmError as error:  # p2pd is started again
            _logger.debug("no gossip: %s", error)

    async def withdraw(self, tombstone: Record) -> None:
        """Tell the neighbours at once that we have left the cell where we were announced last."""
        area = self.table.area
        if area is None or area.tree != tombstone.tree:
            return
        self.table.announce(tombstone, area.home)
        request = self._request(own=tombstone.data)
        try:
            circle = self._neighbours.circle(*self._candidates())
            async with asyncio.timeout(GOODBYE_SECONDS):
                await all_of(*(self._network.exchange(peer, self._maddrs(peer), request) for peer in circle))
        except (SwarmError, TimeoutError) as error:
            _logger.debug("not all neighbours know that we have left: %s", error)

    async def answer(self, peer: PeerId, request: GossipRequest) -> GossipAnswer:
        """What `peer` gets for its question, or for what it pushes."""
        area, now = self.table.area, self._clock()
        if not self._bounds.may_ask(peer, now, is_member=self._is_member(peer)):
            return GossipAnswer(refusal="too many questions: ask less often")
        if area is None or request.tree != area.tree or self.table.own is None:
            return GossipAnswer(refusal="no server of this model")
        if not (request.cell.startswith(area.cell) or area.cell.startswith(request.cell)):
            return GossipAnswer(refusal="a server of another cell")
        if request.own:
            await self._take(peer, [request.own], asked=False, signer=peer)
        is_member = self._is_member(peer)
        answer = GossipAnswer(cell=area.cell)
        try:
            if is_member and request.records and self._bounds.room_to_take(peer, now):
                self._bounds.took(peer, now, len(request.records))
                await self._take(peer, unpacked(request.records), asked=False)
            if request.asks:
                self._answer(peer, request, answer, is_member=is_member)
        except ValueError as error:
            return GossipAnswer(refusal=str(error))
        return answer

    def _answer(self, peer: PeerId, request: GossipRequest, answer: GossipAnswer, *, is_member: bool) -> None:
        """Put in what the asker lacks, and what we do. Raises ValueError for marks that aren't any."""
        if len(request.salt) != SALT_BYTES or len(request.marks) > MOST_MARKS * MARK_BYTES:
            raise ValueError(f"a question has {SALT_BYTES} bytes of salt and {MOST_MARKS} marks at most")
        now = self._now()
        theirs = read_marks(request.marks, now)
        held = self.table.all()
        told = [entry for entry in held if entry.record.place.startswith(request.cell)]
        news = news_for(theirs, request.salt, told, now, self._chance)
        answer.records = self._packed(
            peer, (entry.record for entry in news), request.room, is_member=is_member
        )
        wanted = wanted_of(theirs, request.salt, held, now)
        if not is_member:  # it has to show its own record first
            wanted = [number for number in wanted if number == number_of(peer, theirs, request.salt)]
        elif room := self._bounds.room_to_take(peer, self._clock()):
            answer.room = room
        answer.wanted.extend(wanted)

    async def _ask(self, peer: PeerId, own: Entry) -> float:
        """Ask `peer`, and push what it lacks. Returns for how many seconds it is of no use as a neighbour."""
        room = self._bounds.room_to_take(peer, self._clock())
        salt, told = secrets.token_bytes(SALT_BYTES), [own, *self.table.entries()]
        question = self._request(asks=True, room=room, salt=salt, marks=marks_of(told, salt))
        answer = await self._network.exchange(peer, self._maddrs(peer), question)
        if answer is None or answer.refusal:
            _logger.debug("no gossip with peer=%s reason=%s", peer, foreign(answer.refusal) if answer else "")
            return REFUSED_SECONDS if answer else BARRED_SECONDS
        self._bounds.took(peer, self._clock(), len(answer.records))
        try:
            await self._take(peer, unpacked(answer.records), asked=True)
        except ValueError as error:
            _logger.debug("no gossip with peer=%s reason=%s", peer, error)
            return BARRED_SECONDS
        push = self._request(own=own.record.data if 0 in answer.wanted[:MOST_MARKS] else b"")
        push.records = self._packed(peer, self._wanted(answer, told), answer.room, is_member=True)
        if push.own or push.records:
            await self._network.exchange(peer, self._maddrs(peer), push)
        return 0.0

    def _wanted(self, answer: GossipAnswer, told: Sequence[Entry]) -> list[Record]:
        """The records now of the others that the answer asks for, as far as they belong there."""
        numbers = [number for number in answer.wanted[:MOST_MARKS] if number < len(told)]
        peers = sorted({told[number].record.peer_id for number in numbers}, key=lambda _: self._chance())
        held = (self.table.entry(peer) for peer in peers)
        return [
            entry.record for entry in held if entry is not None and entry.record.place.startswith(answer.cell)
        ]

    def _packed(self, peer: PeerId, records: Iterable[Record], room: int, *, is_member: bool) -> bytes:
        """Those for which there is room, here and at the other; they count as sent."""
        now = self._clock()
        room = min(room, self._bounds.room_to_send(peer, now, is_member=is_member))
        data = packed((record.data for record in records), room)
        self._bounds.sent(peer, now, len(data), is_member=is_member)
        return data

    def _request(self, **fields: Any) -> GossipRequest:
        area = self.table.area
        assert area is not None
        return GossipRequest(tree=area.tree, cell=area.cell, **fields)

    async def _take(
        self, sender: PeerId, values: Iterable[bytes], *, asked: bool, signer: PeerId | None = None
    ) -> None:
        """Verify records, those that we don't have, and remember them; with `signer` only that peer's."""
        area = self.table.area
        assert area is not None
        held = {entry.record.data for entry in self.table.entries()}
        new = [value for value in values if value not in held]
        key, _ = keys_of_cell(area.tree, area.cell)
        records = await self._network.verified(sender, key, new, asked=asked)
        self.table.take(record for record in records if signer in (None, record.peer_id))

    def _is_member(self, peer: PeerId) -> bool:
        return self.table.entry(peer) is not None

    def _candidates(self) -> tuple[list[PeerId], list[PeerId]]:
        """Whom we can ask: those known longest, the best known first, and all."""
        own = self.table.own
        here = [entry.record.peer_id for entry in self.table.entries() if not entry.has_left]
        known = [peer for peer in self._network.elders() if own is None or peer != own.record.peer_id]
        in_cell = [peer for peer in known if peer in here]
        return [*dict.fromkeys([*in_cell, *known, *here])], here

    def _maddrs(self, peer: PeerId) -> Sequence[str]:
        entry = self.table.entry(peer)
        return () if entry is None else entry.maddrs

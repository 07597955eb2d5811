"""Members of one cell that gossip without a network, by a clock that the caller moves."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from p2pinfer.errors import InvalidRecordError, UnpaidRecordError
from p2pinfer.identity import Identity
from p2pinfer.swarm.gossip.gossip import Gossip
from p2pinfer.swarm.gossip_pb2 import GossipAnswer, GossipRequest
from p2pinfer.swarm.kademlia.validator import Record, RecordValidator, read_record
from p2pinfer.swarm.records.announcement import encode
from p2pinfer.types import PeerId
from scripts.benchmarks.discovery.town import SPANS, announcement

BEGIN = 1_750_000_000.0


class Cell:
    """The members, and how they reach each other."""

    def __init__(self) -> None:
        self.now = BEGIN
        self.members: dict[PeerId, Member] = {}
        self.chance = random.Random(20)
        self.is_down = False

    def member(self, *elders: Identity, **options: Any) -> Member:
        """One more, that has known these for long."""
        member = Member(self, Identity.ephemeral(), [one.peer_id for one in elders], **options)
        self.members[member.identity.peer_id] = member
        return member

    async def live(self, seconds: float, *, read_seconds: float | None = None) -> None:
        """Let time pass: everybody announces itself every 15 s and asks every 4.4 s, at its own moments.

        With `read_seconds`, everybody also reads all records in the DHT so often; without, nobody can.
        """
        end = self.now + seconds
        while True:
            at, what, member = min(
                ((at, what, member) for member in self.members.values() for what, at in member.due.items()),
                key=lambda one: one[0],
            )
            if at > end:
                break
            self.now = at
            await asyncio.sleep(0)  # nothing here waits: Ctrl-C is heard between two steps
            if what == "announce":
                member.announce()
                member.due[what] += 15.0
            elif what == "ask":
                await member.gossip.ask_next()
                member.due[what] += 4.4
            else:
                if read_seconds is not None:
                    member.gossip.heard(self.announced())
                member.due[what] += read_seconds or 30.0
        self.now = end

    def announced(self) -> list[Record]:
        """What an honest DHT holds."""
        return [own.record for one in self.members.values() if (own := one.gossip.table.own) is not None]


def several(cell: Cell, count: int) -> list[Member]:
    """Members each of which knows one that came before it; they are announced."""
    members: list[Member] = []
    for _ in range(count):
        known = [cell.chance.choice(members).identity] if members else []
        members.append(cell.member(*known))
    for member in members:
        member.announce()
    return members


class Member:
    """One of them; it is the network that its gossip sees."""

    def __init__(
        self, cell: Cell, identity: Identity, elders: Sequence[PeerId], *, home: int = 0, **said: Any
    ) -> None:
        self.cell, self.identity, self.home, self.said = cell, identity, home, said
        self.known = elders
        self.validator = RecordValidator(lambda: cell.now)
        self.gossip = Gossip(
            self, chance=cell.chance.random, now=lambda: cell.now, clock=lambda: cell.now - BEGIN
        )
        self.sent_bytes = self.asked = 0
        begun = cell.chance.random()
        self.due = {
            "announce": cell.now + 15 * begun,
            "ask": cell.now + 4.4 * begun,
            "read": cell.now + 30 * begun,
        }

    def record(self, **changes: Any) -> Record:
        """What it says of itself now."""
        now = self.cell.now
        fields = {"announced_at": now, "expires_at": now + 60.0, **self.said, **changes}
        said = replace(announcement(self.identity, SPANS[0], 60.0), **fields)
        return read_record(encode(said, self.identity))

    def announce(self, **changes: Any) -> Record:
        """Say it; nobody but its own gossip hears it."""
        record = self.record(**changes)
        self.gossip.announce(record, self.home)
        return record

    def knows(self) -> set[PeerId]:
        """Whose records it has, without its own."""
        return {entry.record.peer_id for entry in self.gossip.table.entries()}

    def elders(self) -> Sequence[PeerId]:
        """Whom it has known for long."""
        return self.known

    async def gossip_with(self, peer: PeerId, request: GossipRequest) -> GossipAnswer | None:
        """Ask another one, and count the bytes."""
        other = self.cell.members.get(peer)
        if other is None:
            return None
        self.asked += 1
        answer = await other.answer(self.identity.peer_id, request)
        self.sent_bytes += request.ByteSize()
        if answer is not None:
            other.sent_bytes += answer.ByteSize()
        return answer

    async def answer(self, peer: PeerId, request: GossipRequest) -> GossipAnswer | None:
        """What it answers; liars do otherwise."""
        return await self.gossip.answer(peer, request)

    async def exchange(
        self, peer: PeerId, maddrs: Sequence[str], request: GossipRequest
    ) -> GossipAnswer | None:
        """As the network does it."""
        return await self.gossip_with(peer, request)

    async def verified(
        self, sender: PeerId, key: bytes, values: Iterable[bytes], *, asked: bool
    ) -> list[Record]:
        """As a node does it."""
        records = []
        for value in values:
            try:
                records.append(self.validator.accept(key, value))
            except UnpaidRecordError:
                break
            except InvalidRecordError:
                continue
        return records

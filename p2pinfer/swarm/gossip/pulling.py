"""Ask members for a cell, as one that isn't among them: a client does, and pays nothing.

It reads a cell under the cell's keys first. Whoever stands around these can hide the cell, but not from the
members themselves, some of whom a reader has found in the samples of larger cells.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress

from p2pinfer.backoff import Chance
from p2pinfer.errors import SwarmError
from p2pinfer.swarm.cells.keys import keys_of_cell
from p2pinfer.swarm.gossip.marks import SALT_BYTES, marks_of
from p2pinfer.swarm.gossip.network import Network
from p2pinfer.swarm.gossip.packing import MOST_BYTES, unpacked
from p2pinfer.swarm.gossip.table import MOST_RECORDS, Entry, entry_of
from p2pinfer.swarm.gossip_pb2 import GossipRequest
from p2pinfer.swarm.kademlia.validator import Record
from p2pinfer.tasks import all_of

MEMBERS = 3
"""That are asked."""
PULL_SECONDS = 1.5
"""For all of them: a reader doesn't wait longer."""


async def pull(
    network: Network, tree: str, cell: str, known: Iterable[Record], chance: Chance
) -> list[Record]:
    """The records of a cell's members that aren't `known` yet, or that are newer; none if nobody answers."""
    entries = [entry_of(record, 0.0) for record in known if record.tree == tree]
    inside = [entry for entry in entries if entry.record.place.startswith(cell)][:MOST_RECORDS]
    found: list[Record] = []

    async def ask(entry: Entry) -> None:
        salt, peer = secrets.token_bytes(SALT_BYTES), entry.record.peer_id
        question = GossipRequest(
            tree=tree, cell=cell, asks=True, room=MOST_BYTES, salt=salt, marks=marks_of(inside, salt)
        )
        with suppress(SwarmError, ValueError):
            answer = await network.exchange(peer, entry.maddrs, question)
            if answer is not None and not answer.refusal:
                values, (key, _) = unpacked(answer.records), keys_of_cell(tree, cell)
                found.extend(await network.verified(peer, key, values, asked=True))

    with suppress(TimeoutError):
        async with asyncio.timeout(PULL_SECONDS):
            await all_of(*map(ask, whom_to_ask(entries, cell, chance)))
    return found


def whom_to_ask(entries: Collection[Entry], cell: str, chance: Chance) -> Sequence[Entry]:
    """Those whose places are nearest to a cell; and one by lot of all others: the near may be a crowd."""
    drawn = sorted((entry for entry in entries if not entry.has_left), key=lambda _: chance())
    nearest = sorted(drawn, key=lambda entry: -_digits_shared(entry.record.place, cell))
    near = nearest[: MEMBERS - 1]
    return [*near, *[entry for entry in drawn if entry not in near][:1]]


def _digits_shared(place: str, cell: str) -> int:
    pairs = enumerate(zip(place, cell, strict=False))
    return next((number for number, (one, other) in pairs if one != other), len(cell))

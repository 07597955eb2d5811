"""What members of a cell send to tell each other of each other, and whom they know by it.

Their records are as long as those of servers that measure 24 next hops. Reads of the DHT bring them all
records, or, where strangers hide all keys of the cell, none.
"""

from __future__ import annotations

from scripts.benchmarks.discovery.cell import Cell, several
from scripts.benchmarks.discovery.figures import Gossip
from scripts.benchmarks.shared.report import say

_NEXT_HOPS = 24
_BEGIN_SECONDS = 60.0
READ_SECONDS = 30.0


async def gossip(members: int, seconds: float, before: float) -> list[Gossip]:
    """In a cell that can be read, and in one that can't, after so many seconds `before`."""
    return [
        await gossip_of(members, seconds=seconds, before=before, read_seconds=read_seconds)
        for read_seconds in (READ_SECONDS, None)
    ]


async def gossip_of(
    members: int, *, seconds: float, before: float = _BEGIN_SECONDS, read_seconds: float | None
) -> Gossip:
    """Count what so many members send within so many seconds, by their clock; and whom each knows then."""
    cell = Cell()
    everybody = several(cell, members)
    names = [member.identity.peer_id for member in everybody]
    for member in everybody:
        others = [name for name in names if name != member.identity.peer_id]
        hops = cell.chance.sample(others, min(_NEXT_HOPS, len(others)))
        member.said["next_hop_seconds"] = {other: cell.chance.random() for other in hops}
        member.announce()
    say(f"gossip: {members} members, {before + seconds:g} s by their clock")
    await cell.live(before, read_seconds=read_seconds)
    sent = sum(member.sent_bytes for member in everybody)
    await cell.live(seconds, read_seconds=read_seconds)
    sent = sum(member.sent_bytes for member in everybody) - sent
    known = [len(member.knows()) / (members - 1) for member in everybody]
    return Gossip(
        members=members,
        is_hidden=read_seconds is None,
        megabytes=2 * sent / members * 3600 / seconds / 1e6,
        known=sum(known) / members,
        least_known=min(known),
    )

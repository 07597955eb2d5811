"""How far others probably are, by what servers announce of their own ways. Pure.

Who is near to somebody near us is near us. So what one server finds by luck its neighbours find soon. But it
is hearsay: it decides who is measured first, and is never announced.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from p2pinfer.swarm.records.announcement import Announcement
from p2pinfer.types import PeerId


def by_hearsay(
    records: Iterable[Announcement], us: PeerId, measured: Mapping[PeerId, float]
) -> dict[PeerId, float]:
    """Return the seconds of the shortest known way round to other servers, over one or two others.

    `measured` are our own round trips.
    """
    found: dict[PeerId, float] = {}
    for record in records:
        ways = record.next_hop_seconds
        here = ways.get(us, math.inf)
        for peer_id in ways.keys() & measured.keys():
            here = min(here, measured[peer_id] + ways[peer_id])
        here = min(here, measured.get(record.peer_id, math.inf))
        if math.isinf(here):
            continue
        found[record.peer_id] = min(here, found.get(record.peer_id, math.inf))
        for peer_id, seconds in ways.items():
            found[peer_id] = min(here + seconds, found.get(peer_id, math.inf))
    return found

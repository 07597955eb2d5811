"""Readings as a page gets them from a swarm: of a small one all servers, of a large one a sample."""

from __future__ import annotations

from collections.abc import Sequence

from p2pinfer.swarm.cells.estimate import Size
from p2pinfer.swarm.cells.place import ROOT
from p2pinfer.swarm.discovery.sampling import Sample
from p2pinfer.swarm.records.announcement import Announcement


def exactly(servers: int) -> Size:
    """The size of a tree that was counted."""
    return Size(about=servers, least=servers, most=servers)


def whole(servers: Sequence[Announcement]) -> Sample:
    """All servers of a small swarm."""
    size = exactly(len(servers))
    everybody = frozenset(one.peer_id for one in servers)
    return Sample(servers=tuple(servers), from_everywhere=everybody, size=size, cells={ROOT: size})


def sampled(everywhere: Sequence[Announcement], near: Sequence[Announcement]) -> Sample:
    """A sample of some 12,000 servers: those of the largest cell, and those of one place."""
    size = Size(about=12_300, least=9_100, most=17_200)
    return Sample(
        servers=(*everywhere, *near),
        from_everywhere=frozenset(one.peer_id for one in everywhere),
        size=size,
        cells={
            ROOT: size,
            "301": Size(about=150, least=128, most=213),
            "3012": exactly(len(near)),
        },
    )

"""What changes in a chain when its route changes: new hops, new links, links that are cut. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

from p2pinfer.client.chain.chain import Link
from p2pinfer.client.chain.hop import Hop
from p2pinfer.types import PeerId


@dataclass(frozen=True, slots=True, kw_only=True)
class SplicePlan:
    """The hops of the new route in order, and how they differ from the chain."""

    hops: list[Hop]
    fresh: list[Hop]
    """Those of `hops` that the chain does not have yet, in order."""
    seams: list[Link]
    """Links that have to be made: between hops that were no neighbours, or whose link is broken."""
    cut: list[Link]
    """Links of the chain that the new route does not have."""

    @property
    def peers(self) -> list[PeerId]:
        """The peer ids of `hops`."""
        return [hop.peer_id for hop in self.hops]

    def stays(self, hop: Hop) -> bool:
        """True for a hop that the chain has already."""
        return hop not in self.fresh


def plan_splice(chain: Sequence[Hop], broken: Collection[Link], hops: Sequence[Hop]) -> SplicePlan:
    """Compare a chain that has lost the links `broken` with the `hops` of a new route."""
    old: list[Hop | None] = [None, *chain, None]
    before: list[Link] = list(pairwise(old)) if chain else []
    new: list[Hop | None] = [None, *hops, None]
    after: list[Link] = list(pairwise(new))
    return SplicePlan(
        hops=list(hops),
        fresh=[hop for hop in hops if hop not in chain],
        seams=[link for link in after if link not in before or link in broken],
        cut=[link for link in before if link not in after],
    )

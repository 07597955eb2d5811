"""What gossip needs of the network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from p2pinfer.swarm.gossip_pb2 import GossipAnswer, GossipRequest
from p2pinfer.swarm.kademlia.validator import Record
from p2pinfer.types import PeerId


class Network(Protocol):
    """The other members, as this one reaches them. Its methods raise SwarmError while p2pd is away."""

    def elders(self) -> Sequence[PeerId]:
        """The members that this one has known longest, the best known first. They may not be in our cell."""
        ...

    async def exchange(
        self, peer: PeerId, maddrs: Sequence[str], request: GossipRequest
    ) -> GossipAnswer | None:
        """Ask a member, which may be dialled at `maddrs`. None if it doesn't answer."""
        ...

    async def verified(
        self, sender: PeerId, key: bytes, values: Iterable[bytes], *, asked: bool
    ) -> list[Record]:
        """Of what `sender` shows, the records that may be believed under `key`. We have `asked` it or not.

        Invalid ones are left out, and all that follow one whose signer hasn't paid.
        """
        ...

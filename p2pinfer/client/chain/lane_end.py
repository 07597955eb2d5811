"""The client's end of a lane."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from p2pinfer.client.chain.hop import Hop
from p2pinfer.client.reach.carrier import Carrier, ClientLane
from p2pinfer.errors import HopFailedError
from p2pinfer.wire.hello import Hello, Role


@dataclass(slots=True)
class LaneEnd:
    """A lane to the first hop or from the last one, and the resources that keep it open."""

    lane: ClientLane
    _resources: AsyncExitStack = field(default_factory=AsyncExitStack)

    @classmethod
    async def dial(cls, carrier: Carrier, hop: Hop) -> LaneEnd:
        """Open a lane to this hop's server. Raises HopFailedError."""
        async with AsyncExitStack() as resources:
            lane = await resources.enter_async_context(carrier.lane(hop.server.address))
            return cls(lane, resources.pop_all())

    def say_hello(self, role: Role, hop: Hop, key: bytes) -> None:
        """Tell the server which session the lane belongs to. Raises HopFailedError."""
        try:
            self.lane.send(Hello(role, hop.session_id, key).pack())
        except OSError as error:
            raise HopFailedError(hop.peer_id, f"its lane broke: {error}", certain=False) from error

    async def close(self) -> None:
        """Close the lane. Closing twice is harmless."""
        await self._resources.aclose()

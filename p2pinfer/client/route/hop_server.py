"""One place in a route, how to reach its server, and what is expected of it."""

from __future__ import annotations

from dataclasses import dataclass

from p2pinfer.client.route.candidate import RouteHop
from p2pinfer.swarm.records.announcement import Announcement
from p2pinfer.types import UNKNOWN_SECONDS, Address, LayerSeconds


@dataclass(frozen=True, slots=True)
class HopServer:
    """A hop of the route with its server's signed record.

    `decode` and `prefill` are what was believed of its speed when it was chosen.
    """

    hop: RouteHop
    record: Announcement
    round_trip_seconds: float = 0.0
    decode: LayerSeconds = UNKNOWN_SECONDS
    prefill: LayerSeconds = UNKNOWN_SECONDS

    @property
    def address(self) -> Address:
        """The server's address, from its own record."""
        return self.record.address

    def decode_seconds(self, rows: int, context_tokens: float) -> float:
        """What a decode step of so many rows is expected to take here, alone; 0.0 if nobody knows.

        `context_tokens` is the context of all rows together.
        """
        if not self.decode.first:
            return 0.0
        a_row = min(self.prefill.first or self.decode.first, self.decode.first)
        return len(self.hop.layers) * (self.decode.after(context_tokens) + (rows - 1) * a_row)

    def prefill_seconds(self, tokens: int, context_tokens: float) -> float:
        """What a piece of a prompt is expected to take here, alone; 0.0 if nobody knows."""
        if not self.prefill.first:
            return 0.0
        return len(self.hop.layers) * tokens * self.prefill.after(context_tokens)

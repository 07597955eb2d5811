"""One place in a route, and how to reach its server."""

from __future__ import annotations

from dataclasses import dataclass

from p2pinfer.client.route.candidate import RouteHop
from p2pinfer.swarm.records.announcement import Announcement
from p2pinfer.types import Address


@dataclass(frozen=True, slots=True)
class HopServer:
    """A hop of the route with its server's signed record."""

    hop: RouteHop
    record: Announcement
    round_trip_seconds: float = 0.0

    @property
    def address(self) -> Address:
        """The server's address, from its own record."""
        return self.record.address

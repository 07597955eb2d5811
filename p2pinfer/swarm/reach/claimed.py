"""How a server is reached by what its record says. Pure, and for people: a record is a claim."""

from __future__ import annotations

from enum import StrEnum

from p2pinfer.swarm.reach.nearness import Nearness, endpoint_of, nearness_of
from p2pinfer.swarm.records.announcement import Announcement
from p2pinfer.types import short_id


class ClaimedReach(StrEnum):
    """The best way that a record offers to strangers."""

    DIRECT = "direct"  # at endpoints of its own
    MAPPED = "mapped"  # libp2p, through a port of its router
    TUNNEL = "tunnel"  # libp2p, where it can be dialled
    RELAYED = "relayed"  # at relays, where holes may be punched
    LOCAL = "local"  # at endpoints that only its own network can dial
    UNKNOWN = "unknown"  # it names no address


def claimed_reach(record: Announcement) -> ClaimedReach:
    """What a server's record promises."""
    if any(nearness_of(endpoint) is Nearness.PUBLIC for endpoint in record.endpoints):
        return ClaimedReach.DIRECT
    if record.maddrs and record.is_mapped:
        return ClaimedReach.MAPPED
    at = [endpoint for maddr in record.maddrs if (endpoint := endpoint_of(maddr)) is not None]
    if any(nearness_of(endpoint) is Nearness.PUBLIC for endpoint in at):
        return ClaimedReach.TUNNEL
    if record.relays:
        return ClaimedReach.RELAYED
    return ClaimedReach.LOCAL if record.endpoints or record.maddrs else ClaimedReach.UNKNOWN


def relays_of(record: Announcement) -> tuple[str, ...]:
    """The short peer ids of the relays that a record names, each once."""
    return tuple(dict.fromkeys(short_id(maddr.rpartition("/p2p/")[2]) for maddr in record.relays))

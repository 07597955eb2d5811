"""Which servers a route may go on to from here, and which of them are probably near. Pure.

What a record says of a server's place is its own claim: it decides who is asked first, and nothing else.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from contextlib import suppress
from socket import AF_INET, AF_INET6, inet_pton

from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.types import Span

SAME_NETWORK_SECONDS = 0.002
SAME_REGION_SECONDS = 0.02
UNKNOWN_SECONDS = 0.15

_IPV4_NETWORK_BYTES = 2
_IPV6_NETWORK_BYTES = 6


class Fit(enum.IntEnum):
    """How a route goes on, the usual way first."""

    AT_OUR_END = 0  # their span begins where ours ends
    BEYOND_OUR_END = 1  # theirs begins before, and reaches further
    WITHIN = 2  # theirs begins and ends within ours: a route leaves us early for a faster server


def fit_of(theirs: Span, ours: Span) -> Fit | None:
    """How a server of `theirs` may follow one of `ours`; None if a route has no reason to go that way."""
    if theirs.start <= ours.end < theirs.end:
        return Fit.AT_OUR_END if theirs.start == ours.end else Fit.BEYOND_OUR_END
    return Fit.WITHIN if ours.start < theirs.start < ours.end else None


def followers(records: Iterable[Announcement], us: Announcement) -> list[Announcement]:
    """The servers that a route may go on to from us: those that compute alike and take sessions now."""
    return [
        record
        for record in records
        if record.peer_id != us.peer_id
        and record.state is ServerState.SERVING
        and (record.model, record.num_layers, record.numerics) == (us.model, us.num_layers, us.numerics)
        and fit_of(record.layers, us.layers) is not None
    ]


def networks_of(record: Announcement) -> frozenset[bytes]:
    """The networks of a server's addresses, as far as the record has addresses and not names.

    A network is 16 bits of IPv4, 48 of IPv6.
    """
    found = set()
    for endpoint in record.endpoints:
        host = endpoint.rpartition(":")[0]
        with suppress(OSError):  # a name
            if host.startswith("["):
                found.add(inet_pton(AF_INET6, host[1:-1])[:_IPV6_NETWORK_BYTES])
            else:
                found.add(inet_pton(AF_INET, host)[:_IPV4_NETWORK_BYTES])
    return frozenset(found)


def usual_seconds(record: Announcement, region: str, networks: frozenset[bytes]) -> float:
    """The usual round trip from this region and these networks to a server, by its record alone.

    Addresses of one network are often neighbours, those of one region sometimes.
    """
    if not networks.isdisjoint(networks_of(record)):
        return SAME_NETWORK_SECONDS
    if region and record.region.casefold() == region.casefold():
        return SAME_REGION_SECONDS
    return UNKNOWN_SECONDS

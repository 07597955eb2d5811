"""How a member is reached by others, and what it relays for them: one look, as plain data and in words. Pure.

The words are for the member's owner: they name its own addresses, which nobody else is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from p2pinfer.plain_text import bytes_in_words, several
from p2pinfer.swarm.reach.nearness import Nearness, endpoint_of, nearness_of
from p2pinfer.swarm.reach.relay.service import RelayStats
from p2pinfer.swarm.reach.verdict import Verdict
from p2pinfer.types import PeerId, Way, short_id

_MOST_NAMED = 3
_REMARKS = {
    Nearness.PUBLIC: "",
    Nearness.PRIVATE: ", within its own network",
    Nearness.LOOPBACK: ", on this machine only",
}
_WHAT_TO_DO = (
    "its ports can't be dialled from outside, and no relay has taken it yet. It goes on asking; or forward "
    "two ports of the router to this machine, and name them with --listen, --dht-listen and --announce"
)


class WayIn(StrEnum):
    """The best way on which others reach a member."""

    UNKNOWN = "unknown"  # nobody has looked yet
    DIRECT = "direct"
    MAPPED = "mapped"  # through a port that its router has opened for it
    RELAYED = "relayed"  # at relays, where it meets others as well
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReachReport:
    """How a member is reached, as it knows itself."""

    way_in: WayIn
    endpoints: tuple[str, ...] = ()  # HOST:PORT of its service
    maddrs: tuple[str, ...] = ()  # where others have dialled its libp2p node
    relays: tuple[str, ...] = ()  # short peer ids of those that keep a place for it
    tunnels_in: Mapping[Way, int] = field(default_factory=dict)  # that others have open now, by their way
    trouble: str = ""  # why it isn't reached, and what to do; empty: unknown, or no trouble
    is_relay: bool = False  # it passes on what others send each other
    relay_refusal: str = ""  # why it could be a relay, and isn't now
    relay_bytes_per_second: float | None = None  # the limit of what it passes on; None: there is none
    relayed_circuits: int = 0  # now
    relayed_bytes: int = 0  # today; each was received once and sent once


def report_of(
    verdict: Verdict,
    relays: Iterable[PeerId],
    *,
    tunnels_in: Mapping[Way, int],
    relayed: RelayStats | None,
) -> ReachReport:
    """The report of a member that others see so, and that has places at these relays.

    `relayed` is what it does as a relay; None: it is none.
    """
    held = tuple(map(short_id, relays))
    return ReachReport(
        way_in=_way_in(verdict, bool(held)),
        maddrs=verdict.maddrs,
        relays=held,
        tunnels_in=dict(tunnels_in),
        is_relay=relayed is not None and not relayed.refusal,
        relay_refusal="" if relayed is None else relayed.refusal,
        relay_bytes_per_second=None if relayed is None else relayed.bytes_per_second,
        relayed_circuits=0 if relayed is None else relayed.circuits,
        relayed_bytes=0 if relayed is None else relayed.relayed_bytes_today,
    )


def reached_in_words(report: ReachReport) -> str:
    """One line without its end, for the owner.

    >>> reached_in_words(ReachReport(way_in=WayIn.RELAYED, relays=("…abc123",), tunnels_in={Way.PUNCHED: 2}))
    'reached: behind a router, through relay …abc123; 2 of 2 tunnels punched'
    """
    match report.way_in:
        case WayIn.DIRECT:
            return f"reached: directly{_at(report)}"
        case WayIn.MAPPED:
            return f"reached: through a mapped port of the router{_at(report)}"
        case WayIn.RELAYED:
            return f"reached: behind a router, {_relays(report.relays)}{_tunnels(report.tunnels_in)}"
        case WayIn.NONE:
            return f"not reachable: {report.trouble or _WHAT_TO_DO}"
        case WayIn.UNKNOWN:
            return f"reached: not known yet, no other member has looked; it listens{_at(report)}"


def relaying_in_words(report: ReachReport) -> str:
    """What it relays for others; empty: it is no relay, and has been none today."""
    if not report.is_relay and not report.relayed_bytes:
        return f"nothing: {report.relay_refusal}" if report.relay_refusal else ""
    rate = report.relay_bytes_per_second
    limit = "no limit" if rate is None else f"at most {rate * 8 / 1e6:.3g} Mbit/s"
    now = f"{several(report.relayed_circuits, 'connection')} now" if report.is_relay else "none now"
    why = f" ({report.relay_refusal})" if report.relay_refusal else ""
    return f"{now}{why}, {bytes_in_words(report.relayed_bytes)} today, {limit}"


def as_plain(report: ReachReport) -> dict[str, object]:
    """The report for JSON, with the names of its fields."""
    return {
        "way_in": str(report.way_in),
        "endpoints": list(report.endpoints),
        "maddrs": list(report.maddrs),
        "relays": list(report.relays),
        "tunnels_in": {str(way): number for way, number in report.tunnels_in.items()},
        "trouble": report.trouble,
        "is_relay": report.is_relay,
        "relay_refusal": report.relay_refusal,
        "relay_bytes_per_second": report.relay_bytes_per_second,
        "relayed_circuits": report.relayed_circuits,
        "relayed_bytes": report.relayed_bytes,
    }


def _way_in(verdict: Verdict, has_relays: bool) -> WayIn:
    if verdict.is_dialable:
        if verdict.is_mapped:
            return WayIn.MAPPED
        return WayIn.DIRECT if verdict.maddrs else WayIn.UNKNOWN  # a guess
    if has_relays:
        return WayIn.RELAYED
    return WayIn.NONE if verdict.hosts else WayIn.UNKNOWN


def _at(report: ReachReport) -> str:
    """` at 203.0.113.7:4600`, with how far that can be dialled from; empty if there is no address."""
    of_libp2p = dict.fromkeys(filter(None, map(endpoint_of, report.maddrs)))
    for nearness, remark in _REMARKS.items():
        for places, by in ((report.endpoints, ""), (of_libp2p, " by libp2p")):
            if some := [place for place in places if nearness_of(place) is nearness]:
                return f" at {_listed(some)}{by}{remark}"
    return ""


def _relays(relays: Sequence[str]) -> str:
    if not relays:
        return "through relays"
    return f"through {'relay' if len(relays) == 1 else 'relays'} {_listed(relays)}"


def _tunnels(tunnels_in: Mapping[Way, int]) -> str:
    number = sum(tunnels_in.values())
    punched = number - tunnels_in.get(Way.RELAYED, 0)
    return f"; {punched} of {several(number, 'tunnel')} punched" if number else ""


def _listed(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _MOST_NAMED} more" if len(texts) > _MOST_NAMED else ""
    return ", ".join(texts[:_MOST_NAMED]) + more

"""Whom this user's programs knew in which swarm, and where in it they were. Pure: without clock and file.

A swarm is told from another by its initial peers: what was learned in one is used only where a program joins
through at least one of the same initial peers. All times are Unix seconds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any, TypeAlias

from p2pinfer.errors import UsageError
from p2pinfer.swarm.addresses import check_address, ip_of, is_loopback
from p2pinfer.swarm.coordinates import position
from p2pinfer.swarm.coordinates.position import Whereabouts
from p2pinfer.types import PeerId

MOST_SWARMS = 16
MOST_PEERS = 16  # of one swarm; half of the places are for those known longest
MOST_INITIAL = 16
MOST_MADDRS = 4  # of one peer
KEPT_SECONDS = 14 * 86400.0
_MOST_CHARACTERS = 128
_LATEST = 2.0**40
_PEER_ID = re.compile("[1-9A-HJ-NP-Za-km-z]{40,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPeer:
    """A peer that was met: where, and when for the first and for the last time."""

    maddrs: tuple[str, ...]  # without /p2p/ID
    first_seen: float
    last_seen: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownSwarm:
    """The peers that were met in a swarm, and where in it this machine was, the last time."""

    peers: Mapping[PeerId, KnownPeer]
    whereabouts: Whereabouts | None = None  # None: it isn't known


Swarms: TypeAlias = dict[frozenset[PeerId], KnownSwarm]
"""Each swarm, by the initial peers through which it was joined."""


def can_be_kept(maddr: str) -> bool:
    """True if a file may have this multiaddress: of one IP address and port, without a relay or a name."""
    if len(maddr) > _MOST_CHARACTERS or "/p2p" in maddr or ip_of(maddr) is None:
        return False
    try:
        check_address(maddr)
    except UsageError:
        return False
    return True


def peers_of(swarms: Swarms, initial: Set[PeerId], now: float) -> dict[PeerId, KnownPeer]:
    """Whom the programs knew in the swarm that is joined through `initial`."""
    found: dict[PeerId, KnownPeer] = {}
    for joined_through, swarm in swarms.items():
        if joined_through & initial:
            found = _merged(found, swarm.peers)
    return _bounded(found, now)


def whereabouts_of(swarms: Swarms, initial: Set[PeerId], now: float) -> Whereabouts | None:
    """Where this machine was in the swarm that is joined through `initial`; None if that isn't known."""
    found = [
        (_last_seen(peers), swarm.whereabouts)
        for joined_through, swarm in swarms.items()
        if joined_through & initial
        and swarm.whereabouts is not None
        and (peers := _bounded(swarm.peers, now))
    ]
    return max(found, key=itemgetter(0))[1] if found else None


def remember(
    swarms: Swarms,
    initial: Set[PeerId],
    peers: Mapping[PeerId, KnownPeer],
    now: float,
    whereabouts: Whereabouts | None = None,
) -> Swarms:
    """What is known together with `peers`, met in the swarm that was joined through `initial`.

    `whereabouts` replace those of this swarm; None: they stay.

    What is too old is forgotten, and of too much the least useful: swarms of this machine alone first, then
    those that were left longest ago. What is dated in the future, because a clock was wrong, counts as of
    now.
    """
    key = frozenset(sorted(initial)[:MOST_INITIAL])
    former = swarms.get(key, KnownSwarm(peers={}))
    together = {
        **swarms,
        key: KnownSwarm(peers=_merged(former.peers, peers), whereabouts=whereabouts or former.whereabouts),
    }
    bounded = {
        key: replace(swarm, peers=kept)
        for key, swarm in together.items()
        if (kept := _bounded(swarm.peers, now))
    }
    ranked = sorted(bounded.items(), key=lambda item: (_is_local(item[1].peers), -_last_seen(item[1].peers)))
    return dict(ranked[:MOST_SWARMS])


def _merged(peers: Mapping[PeerId, KnownPeer], others: Mapping[PeerId, KnownPeer]) -> dict[PeerId, KnownPeer]:
    merged = dict(peers)
    for peer_id, other in others.items():
        one = merged.get(peer_id, other)
        merged[peer_id] = KnownPeer(
            maddrs=max(one, other, key=lambda peer: peer.last_seen).maddrs,
            first_seen=min(one.first_seen, other.first_seen),
            last_seen=max(one.last_seen, other.last_seen),
        )
    return merged


def _bounded(peers: Mapping[PeerId, KnownPeer], now: float) -> dict[PeerId, KnownPeer]:
    """Half of the places are for those that were there for the longest time, half for those seen last.

    So a crowd of newcomers pushes out no peer that was there for days, and is away just now.
    """
    kept = {
        peer_id: KnownPeer(
            maddrs=peer.maddrs[:MOST_MADDRS],
            first_seen=min(peer.first_seen, peer.last_seen, now),
            last_seen=min(peer.last_seen, now),
        )
        for peer_id, peer in peers.items()
        if peer.maddrs and now - peer.last_seen <= KEPT_SECONDS
    }
    oldest = sorted(kept, key=lambda peer: kept[peer].first_seen - kept[peer].last_seen)[: MOST_PEERS // 2]
    newest = sorted(kept, key=lambda peer: (-kept[peer].last_seen, kept[peer].first_seen))
    return {peer: kept[peer] for peer in list(dict.fromkeys([*oldest, *newest]))[:MOST_PEERS]}


def _is_local(peers: Mapping[PeerId, KnownPeer]) -> bool:
    return all(is_loopback(maddr) for peer in peers.values() for maddr in peer.maddrs)


def _last_seen(peers: Mapping[PeerId, KnownPeer]) -> float:
    return max(peer.last_seen for peer in peers.values())


def as_json(swarms: Swarms) -> dict[str, Any]:
    """What a file keeps."""
    return {
        "version": 1,
        "swarms": [
            {
                "initial": sorted(initial),
                "peers": {
                    peer_id: [list(peer.maddrs), peer.first_seen, peer.last_seen]
                    for peer_id, peer in swarm.peers.items()
                },
                **({} if swarm.whereabouts is None else {"position": position.as_json(swarm.whereabouts)}),
            }
            for initial, swarm in swarms.items()
        ],
    }


def from_json(read: object) -> Swarms:
    """Read what a file keeps. Raises only ValueError, whatever it is."""
    if not isinstance(read, dict) or read.get("version") != 1:
        raise ValueError("not what this version of p2pinfer remembers of swarms")
    swarms: Swarms = {}
    for entry in _list(read.get("swarms"), MOST_SWARMS):
        if not isinstance(entry, dict) or not isinstance(peers := entry.get("peers"), dict):
            raise ValueError("not a swarm")
        if len(peers) > MOST_PEERS:
            raise ValueError(f"more than {MOST_PEERS} peers")
        initial = frozenset(map(_peer_id, _list(entry.get("initial"), MOST_INITIAL)))
        swarms[initial] = KnownSwarm(
            peers={_peer_id(peer_id): _peer(values) for peer_id, values in peers.items()},
            whereabouts=position.from_json(entry["position"]) if "position" in entry else None,
        )
    return swarms


def _list(value: object, most: int) -> list[object]:
    if not isinstance(value, list) or len(value) > most:
        raise ValueError(f"not a list of at most {most}")
    return value


def _peer_id(value: object) -> PeerId:
    if not isinstance(value, str) or not _PEER_ID.fullmatch(value):
        raise ValueError("not a peer id")
    return PeerId(value)


def _peer(values: object) -> KnownPeer:
    match values:
        case [list() as maddrs, int() | float() as first, int() | float() as last]:
            pass
        case _:
            raise ValueError("not a peer")
    if len(maddrs) > MOST_MADDRS or not all(isinstance(one, str) and can_be_kept(one) for one in maddrs):
        raise ValueError("not where a peer can be")
    if not all(0 <= seconds <= _LATEST for seconds in (first, last)):  # which holds for no NaN
        raise ValueError("a time out of bounds")
    return KnownPeer(maddrs=tuple(maddrs), first_seen=float(first), last_seen=float(last))

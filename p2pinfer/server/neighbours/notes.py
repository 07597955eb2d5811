"""What was measured, whom to measure now, and what of it to announce. Pure: time comes from the caller.

Of hundreds of servers that may follow, a route wants the nearest. A round measures a few: those again whose
announced distance grows old, and new ones, half of them where nearness is likely, half by lot. So the nearest
are found without asking everybody, whatever records claim. Meridian (Wong et al. 2005) and T-Man (Jelasity
and Babaoglu 2005) find neighbours by the same two means.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter

from p2pinfer.backoff import Chance
from p2pinfer.server.neighbours.following import Fit, fit_of, followers, networks_of, usual_seconds
from p2pinfer.server.neighbours.hearsay import by_hearsay
from p2pinfer.swarm.records.announcement import (
    MAX_NEXT_HOP_SECONDS,
    MAX_NEXT_HOPS,
    MIN_NEXT_HOP_SECONDS,
    Announcement,
)
from p2pinfer.types import Address, PeerId, Way

PINGED_AT_ONCE = 8
MOST_WITHIN = 4
"""How many of the announced distances lead to servers within our own span, if others take the rest."""

AGAIN_SECONDS = 120.0
"""An announced distance is measured again after this time."""
FORGOTTEN_SECONDS = 600.0
"""A distance that could not be measured again by then isn't announced any more."""
ABSENT_SECONDS = 300.0
"""A server that didn't answer isn't asked again before."""
OTHER_WAY_SECONDS = 10.0
"""A server that is reached in another way now is measured again soon, but not more often than so."""

TunnelWay = Callable[[PeerId], Way | None]
"""Says how a tunnel reaches a peer now; None: none is open."""


@dataclass(frozen=True, slots=True)
class Note:
    """A measurement, or that there was no answer."""

    seconds: float | None  # round trip; None: no answer
    at: float
    way: Way | None = None  # that was measured
    address: Address | None = None  # that was dialled

    def is_valid(self, now: float) -> bool:
        """False when it says nothing any more."""
        return now - self.at < (FORGOTTEN_SECONDS if self.seconds is not None else ABSENT_SECONDS)


class Notes:
    """A server's notes about those that may follow it. Times are seconds of any one clock."""

    def __init__(self, us: Announcement, tunnel_way: TunnelWay | None = None) -> None:
        """`us` is our own record: what we serve, and where."""
        self._us = us
        self._tunnel_way = tunnel_way
        self._networks = networks_of(us)
        self._followers: dict[PeerId, Announcement] = {}
        self._hearsay: dict[PeerId, float] = {}
        self._notes: dict[PeerId, Note] = {}

    def see(self, records: Sequence[Announcement], now: float) -> None:
        """Take the newest records. Who isn't among them is forgotten."""
        self._followers = {record.peer_id: record for record in followers(records, self._us)}
        self._notes = {peer: note for peer, note in self._notes.items() if peer in self._followers}
        self._hearsay = by_hearsay(records, self._us.peer_id, dict(self._measured(now)))

    def measured(
        self,
        peer_id: PeerId,
        seconds: float | None,
        now: float,
        *,
        way: Way | None = None,
        address: Address | None = None,
    ) -> None:
        """Note a round trip in seconds, and how the server was reached; None if it didn't answer."""
        if seconds is not None and not math.isfinite(seconds):
            raise ValueError(f"a round trip takes seconds, not {seconds}")
        if seconds is not None:
            seconds = min(max(seconds, MIN_NEXT_HOP_SECONDS), MAX_NEXT_HOP_SECONDS)
        self._notes[peer_id] = Note(seconds, now, way, address)

    def nearest(self, now: float) -> dict[PeerId, float]:
        """The round trips to announce: the shortest, at most MAX_NEXT_HOPS of them, the nearest first."""
        known = sorted(self._measured(now), key=itemgetter(1))
        within = [one for one in known if self._fit(one[0]) is Fit.WITHIN]
        beyond = [one for one in known if self._fit(one[0]) is not Fit.WITHIN]
        kept_within = within[: max(MOST_WITHIN, MAX_NEXT_HOPS - len(beyond))]
        kept = beyond[: MAX_NEXT_HOPS - len(kept_within)] + kept_within
        return dict(sorted(kept, key=itemgetter(1)))

    def whom_to_measure(self, now: float, chance: Chance) -> list[Announcement]:
        """At most PINGED_AT_ONCE servers to measure in this round."""
        old = {peer for peer in self.nearest(now) if now - self._notes[peer].at >= AGAIN_SECONDS}
        due = sorted(old.union(self._elsewhere(now)), key=lambda peer: (self._notes[peer].at, peer))
        strangers = self._strangers(now)
        room = PINGED_AT_ONCE - min(len(due), PINGED_AT_ONCE // 2)
        chosen = self._chosen(strangers, room, chance)
        again = [self._followers[peer] for peer in due[: PINGED_AT_ONCE - len(chosen)]]
        return again + chosen

    def has_other_ways(self, now: float) -> bool:
        """True if a server was measured, and a session reaches it in another way now: a round is urgent."""
        return any(self._has_other_way(peer, note) for peer, note in self._settled(now))

    def knows_enough(self, now: float) -> bool:
        """True if as much can be announced as is of use: the next round isn't urgent."""
        return len(self.nearest(now)) >= MAX_NEXT_HOPS or not self._strangers(now)

    def _elsewhere(self, now: float) -> list[PeerId]:
        """Those that were measured, and are reached in another way now, or at other addresses."""
        return [
            peer
            for peer, note in self._settled(now)
            if self._has_other_way(peer, note) or note.address not in (None, self._followers[peer].address)
        ]

    def _settled(self, now: float) -> list[tuple[PeerId, Note]]:
        """The measurements that aren't of the last moments."""
        return [
            (peer, note)
            for peer, note in self._notes.items()
            if note.seconds is not None and now - note.at >= OTHER_WAY_SECONDS and peer in self._followers
        ]

    def _has_other_way(self, peer_id: PeerId, note: Note) -> bool:
        if self._tunnel_way is None or note.way in (None, Way.DIRECT):
            return False
        return self._tunnel_way(peer_id) not in (None, note.way)

    def _measured(self, now: float) -> list[tuple[PeerId, float]]:
        """The round trips that are known."""
        return [
            (peer_id, note.seconds)
            for peer_id, note in self._notes.items()
            if peer_id in self._followers and note.seconds is not None and note.is_valid(now)
        ]

    def _strangers(self, now: float) -> list[Announcement]:
        return [
            record
            for peer, record in self._followers.items()
            if (note := self._notes.get(peer)) is None or not note.is_valid(now)
        ]

    def _chosen(self, strangers: Sequence[Announcement], number: int, chance: Chance) -> list[Announcement]:
        """Half of them by what their records say, half by lot."""
        drawn = [
            record for _, record in sorted(((chance(), record) for record in strangers), key=itemgetter(0))
        ]
        likely = sorted(drawn, key=self._promise)
        first = likely[: number - number // 2]
        taken = {record.peer_id for record in first}
        return first + [record for record in drawn if record.peer_id not in taken][: number - len(first)]

    def _promise(self, record: Announcement) -> tuple[float, int]:
        """What is expected of a server that wasn't measured: the less, the better. Seconds, then the fit."""
        usual = usual_seconds(record, self._us.region, self._networks)
        fit = self._fit(record.peer_id)
        return min(usual, self._hearsay.get(record.peer_id, usual)), Fit.WITHIN if fit is None else fit

    def _fit(self, peer_id: PeerId) -> Fit | None:
        return fit_of(self._followers[peer_id].layers, self._us.layers)

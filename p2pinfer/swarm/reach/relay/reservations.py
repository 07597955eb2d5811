"""Who holds a reservation at a relay, within the bounds for all and for each network. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.room import Holder, first_to_go
from p2pinfer.fairness.shares import Bound, Lack, Shares
from p2pinfer.swarm.reach.relay.messages import Status
from p2pinfer.types import PeerId

MAX_RESERVATIONS = 256
MAX_RESERVATIONS_PER_SOURCE = 16


@dataclass(eq=False, slots=True)
class Reservation:
    """One peer's place. A newer one of the same peer replaces it."""

    peer_id: PeerId
    guest: Guest
    made_at: float = 0.0  # seconds, of any steady clock


class Reservations:
    """The places of a relay."""

    def __init__(
        self, most: int = MAX_RESERVATIONS, most_per_source: int = MAX_RESERVATIONS_PER_SOURCE
    ) -> None:
        self._shares = Shares(Bound(in_all=most, per_source=most_per_source, per_key=1))
        self._held: dict[PeerId, Reservation] = {}

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, peer_id: PeerId) -> bool:
        return peer_id in self._held

    def replace(self, reservation: Reservation) -> tuple[Reservation, ...] | Status:
        """Give the peer this place; returns those that have to go for it, or why there is no place.

        Its own former one goes. Where all are taken, it is the newest of the network that has most of them,
        if that has more than the peer's own would have.
        """
        former = self._held.get(reservation.peer_id)
        if former is not None:
            self.remove(former)
        goes = () if former is None else (former,)
        if (lack := self._shares.lack(reservation.guest)) is not None:
            newest = self._first_to_go(reservation.guest, lack)
            if newest is None:
                if former is not None:
                    self._add(former)
                return Status.LIMIT if lack in (Lack.KEY, Lack.SOURCE) else Status.FULL
            self.remove(newest)
            goes = (*goes, newest)
        self._add(reservation)
        return goes

    def remove(self, reservation: Reservation) -> None:
        """Take a place back. Nothing happens if it was replaced or removed already."""
        if self._held.get(reservation.peer_id) is reservation:
            del self._held[reservation.peer_id]
            self._shares.give_back(reservation.guest)

    def _add(self, reservation: Reservation) -> None:
        self._held[reservation.peer_id] = reservation
        self._shares.take(reservation.guest)

    def _first_to_go(self, guest: Guest, lack: Lack) -> Reservation | None:
        holders = (
            Holder(what=held, guest=held.guest, is_idle=False, used_at=-held.made_at)
            for held in self._held.values()
        )
        return None if lack is Lack.SOURCE else first_to_go(guest, lack, holders, self._shares)

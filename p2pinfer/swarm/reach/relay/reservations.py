"""Who holds a reservation at a relay, within the bounds for all and for each address. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from p2pinfer.swarm.reach.relay.messages import Status
from p2pinfer.types import PeerId

MAX_RESERVATIONS = 256
MAX_RESERVATIONS_PER_ADDRESS = 8


@dataclass(eq=False, slots=True)
class Reservation:
    """One peer's place. A newer one of the same peer replaces it."""

    peer_id: PeerId
    groups: frozenset[str] = field(default_factory=frozenset)  # see observed.address_groups


class Reservations:
    """The places of a relay."""

    def __init__(
        self, most: int = MAX_RESERVATIONS, most_per_address: int = MAX_RESERVATIONS_PER_ADDRESS
    ) -> None:
        self._most, self._most_per_address = most, most_per_address
        self._held: dict[PeerId, Reservation] = {}
        self._of_group: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, peer_id: PeerId) -> bool:
        return peer_id in self._held

    def replace(self, reservation: Reservation) -> Reservation | Status | None:
        """Give the peer this place; returns the one that it replaces, or why there is no place."""
        former = self._held.get(reservation.peer_id)
        own = former.groups if former is not None else frozenset()
        if former is None and len(self._held) >= self._most:
            return Status.FULL
        if any(self._of_group[group] >= self._most_per_address for group in reservation.groups - own):
            return Status.LIMIT
        if former is not None:
            self.remove(former)
        self._held[reservation.peer_id] = reservation
        self._of_group.update(reservation.groups)
        return former

    def remove(self, reservation: Reservation) -> None:
        """Take a place back. Nothing happens if it was replaced or removed already."""
        if self._held.get(reservation.peer_id) is reservation:
            del self._held[reservation.peer_id]
            self._of_group -= Counter(reservation.groups)

"""How servers count that have not worked for this client yet, next to those that have.

An identity costs little, and so do the numbers in a record. So the announced speed of an unknown server
counts as far as others reach it (client/trust/believed.py), and its work and its way count as if they took
longer: a little where unknown servers have turned out well, three times where they haven't. Where nobody is
known, all are equal. Now and then one of them comes as a guest, as if it were known: new servers get work,
and are known then. A route has one guest at most.
"""

from __future__ import annotations

from collections.abc import Sequence

from p2pinfer.backoff import Chance
from p2pinfer.client.route.experience import Experience, life_of
from p2pinfer.client.trust.believed import Belief, Measure, most_room
from p2pinfer.swarm.records.announcement import Announcement
from p2pinfer.types import LayerSeconds, PeerId

_FRESH_SECONDS = 2.0
_LEAST_FACTOR = 1.3
_MOST_FACTOR = 3.0
_GUEST_CHANCE = 0.05
"""For each new session."""


class Strangers:
    """For the network's event loop."""

    def __init__(self, experience: Experience, chance: Chance) -> None:
        self._experience = experience
        self._chance = chance
        self._belief = Belief()
        self._learned_at = float("-inf")
        self._factor = 1.0
        self._guest: PeerId | None = None

    def learn(self, usable: Sequence[Announcement], *, now: float, is_new: bool) -> None:
        """Learn anew what servers reach, from those that can have a place now.

        `is_new` says that the search is for a new session: it may get a guest.
        """
        if now - self._learned_at >= _FRESH_SECONDS:
            self._learned_at = now
            self._learn(usable)
        self._guest = self._drawn(usable) if is_new else None

    def speed(self, record: Announcement) -> tuple[LayerSeconds, LayerSeconds]:
        """What is believed of its speed: decode and prefill."""
        if self._experience.is_known(life_of(record)):
            return record.decode, record.prefill
        return self._belief.speed(record.decode, record.prefill)

    def room(self, record: Announcement, tokens: int) -> int:
        """How much of its free cache counts when one of several servers is drawn."""
        return tokens if self._experience.is_known(life_of(record)) else self._belief.room(tokens)

    def factor(self, record: Announcement) -> float:
        """How many times as long its work and its way count as taking."""
        if record.peer_id == self._guest or self._experience.is_known(life_of(record)):
            return 1.0
        return self._factor

    def _learn(self, usable: Sequence[Announcement]) -> None:
        experience = self._experience
        known = [record for record in usable if experience.is_known(life_of(record))]
        self._belief = Belief(
            decode=Measure.of(
                (experience.seconds_per_layer(record, 0) or 0.0 for record in known),
                (record.decode.first for record in usable),
            ),
            prefill=Measure.of(
                (record.prefill.first for record in known), (record.prefill.first for record in usable)
            ),
            most_room=most_room([record.free_cache_tokens for record in usable]),
        )
        mistrust = 1 - experience.reputations.strangers_trust(experience.unix_now())
        self._factor = _LEAST_FACTOR + (_MOST_FACTOR - _LEAST_FACTOR) * mistrust if known else 1.0

    def _drawn(self, usable: Sequence[Announcement]) -> PeerId | None:
        if self._factor == 1.0 or self._chance() >= _GUEST_CHANCE:
            return None
        strangers = [record for record in usable if self._is_stranger(record)]
        if not strangers:
            return None
        return strangers[min(len(strangers) - 1, int(self._chance() * len(strangers)))].peer_id

    def _is_stranger(self, record: Announcement) -> bool:
        life = life_of(record)
        return not (self._experience.is_known(life) or self._experience.is_doubted(life))

"""What gossip may cost: messages and bytes, of each member and of all. Pure: the caller has the clock.

Members are those that have shown a record of their own, which has to be paid for; everybody else is a
stranger, and only asks. The bounds of the one are no bounds of the other: a crowd of strangers takes nothing
from members.
"""

from __future__ import annotations

from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.rates import RateBound, Rates, RatesByStanding
from p2pinfer.fairness.sources import Source
from p2pinfer.swarm.records.signed import MAX_RECORD_BYTES
from p2pinfer.types import PeerId

_TEN_MINUTES = 600.0
QUESTIONS = RateBound(in_all=480, per_source=480, per_key=24)
"""That are answered in a minute, of members. A neighbour asks two or three times, and pushes as often."""
STRANGERS_QUESTIONS = RateBound(in_all=120, per_source=40, per_key=12)
"""A stranger's identity is free, its network isn't."""
SENT_BYTES = RateBound(in_all=3 << 20, per_source=3 << 20, per_key=3 << 18, seconds=_TEN_MINUTES)
"""Of records, sent to members in ten minutes: 19 MB an hour at most. A cell of 128 whose keys are all hidden
takes a third of that, on average; those that many know send more."""
STRANGERS_SENT_BYTES = RateBound(in_all=1 << 21, per_source=1 << 19, per_key=1 << 18, seconds=_TEN_MINUTES)
TAKEN_BYTES = RateBound(in_all=3 << 20, per_source=3 << 20, per_key=3 << 18, seconds=_TEN_MINUTES)
"""Of records, taken from members in ten minutes, in answers and pushed."""
SHARE_OF_MESSAGE = 1 / 8
"""Of what is left, that one message may have: in a crowd messages become shorter, and none is left out."""


class Bounds:
    """What each has left. `now` is in seconds of a steady clock."""

    def __init__(self) -> None:
        self._questions = RatesByStanding(STRANGERS_QUESTIONS, QUESTIONS)
        self._sent = RatesByStanding(STRANGERS_SENT_BYTES, SENT_BYTES)
        self._taken = Rates(TAKEN_BYTES)

    def may_ask(self, peer: PeerId, now: float, *, is_member: bool, source: Source | None = None) -> bool:
        """Count a question of a peer from a network. False if there were too many."""
        guest = _guest(peer, is_member, source)
        return self._questions.of(guest).use(guest, now) == 0.0

    def room_to_send(self, peer: PeerId, now: float, *, is_member: bool, source: Source | None = None) -> int:
        """So many bytes of records may be sent in one message now."""
        guest = _guest(peer, is_member, source)
        return _room(self._sent.of(guest).left(guest, now))

    def sent(
        self, peer: PeerId, now: float, count: int, *, is_member: bool, source: Source | None = None
    ) -> None:
        """Count bytes that were sent."""
        guest = _guest(peer, is_member, source)
        self._sent.of(guest).count(guest, now, count)

    def room_to_take(self, peer: PeerId, now: float) -> int:
        """Likewise of what is taken."""
        return _room(self._taken.left(_guest(peer, True), now))

    def took(self, peer: PeerId, now: float, count: int) -> None:
        """Count bytes that were taken, also more than there was room for."""
        self._taken.count(_guest(peer, True), now, count)


def _room(left_bytes: float) -> int:
    room = int(left_bytes * SHARE_OF_MESSAGE)
    return room if room >= MAX_RECORD_BYTES else 0


def _guest(peer: PeerId, is_member: bool, source: Source | None = None) -> Guest:
    sources = () if source is None or is_member else (source,)
    return Guest(key=peer.encode(), sources=sources, is_known=is_member)

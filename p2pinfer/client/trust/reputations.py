"""What a client remembers of all servers: a bounded number, each with its reputation. Pure.

Good and bad ones have a half each: whoever makes thousands of identities misbehave doesn't displace those
that have worked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from p2pinfer.client.trust.reputation import Offence, Reputation
from p2pinfer.types import PeerId

MOST_OF_A_HALF = 512
_FIELDS = ("steps", "worked_at", "offences", "offended_at", "doubted_until")
_MOST_ID_CHARACTERS = 128
_UNKNOWN = Reputation()


class Reputations:
    """For one thread at a time. All times are Unix seconds."""

    def __init__(self, known: Mapping[PeerId, Reputation] | None = None) -> None:
        self._known: dict[PeerId, Reputation] = dict(known or {})

    def of(self, peer_id: PeerId) -> Reputation:
        """What is remembered of this server."""
        return self._known.get(peer_id, _UNKNOWN)

    @property
    def known(self) -> Mapping[PeerId, Reputation]:
        """All that is remembered."""
        return self._known

    def work(self, peer_id: PeerId, steps: int, now: float) -> None:
        """Note steps that were answered in time."""
        self._known[peer_id] = self.of(peer_id).after_work(steps, now)
        self._bound()

    def offended(self, peer_id: PeerId, offence: Offence, now: float) -> None:
        """Note what a server has done."""
        self._known[peer_id] = self.of(peer_id).after(offence, now)
        self._bound()

    def strangers_trust(self, now: float) -> float:
        """How well servers that were unknown have turned out: 1.0 if all did, towards 0.0 if none did."""
        good = sum(one.is_known(now) for one in self._known.values())
        bad = sum(one.is_doubted(now) for one in self._known.values())
        return (1 + good) / (1 + good + bad)

    def merge(self, others: Mapping[PeerId, Reputation], now: float) -> None:
        """Add what another process knows. What is dated in the future goes, whoever knows it."""
        self._known = {peer_id: mine.as_of(now) for peer_id, mine in self._known.items()}
        for peer_id, reputation in others.items():
            mine, other = self._known.get(peer_id), reputation.as_of(now)
            self._known[peer_id] = other if mine is None else mine.merged(other)
        self._bound()

    def _bound(self) -> None:
        if len(self._known) <= 2 * MOST_OF_A_HALF:
            return
        good = [item for item in self._known.items() if item[1].worked_at > item[1].offended_at]
        bad = [item for item in self._known.items() if item[1].worked_at <= item[1].offended_at]
        good.sort(key=lambda item: (min(item[1].steps, 1000), item[1].worked_at))
        bad.sort(key=lambda item: item[1].doubted_until)
        # Some more than needed, so that it isn't sorted again at once.
        self._known = dict(good[-(MOST_OF_A_HALF - MOST_OF_A_HALF // 8) :] + bad[-MOST_OF_A_HALF * 7 // 8 :])


def as_json(known: Mapping[PeerId, Reputation]) -> dict[str, Any]:
    """What a file keeps."""
    return {
        "version": 1,
        "servers": {
            peer_id: [getattr(reputation, name) for name in _FIELDS] for peer_id, reputation in known.items()
        },
    }


def from_json(read: object) -> dict[PeerId, Reputation]:
    """Read what a file keeps. Raises only ValueError, whatever it is."""
    if not isinstance(read, dict) or read.get("version") != 1 or not isinstance(read.get("servers"), dict):
        raise ValueError("not what this version of p2pinfer remembers of servers")
    servers = read["servers"]
    if len(servers) > 2 * MOST_OF_A_HALF:
        raise ValueError(f"more than {2 * MOST_OF_A_HALF} servers")
    return {_peer_id(peer_id): _reputation(values) for peer_id, values in servers.items()}


def _peer_id(text: str) -> PeerId:
    if not (text.isascii() and text.isalnum() and len(text) <= _MOST_ID_CHARACTERS):
        raise ValueError("not a peer id")
    return PeerId(text)


def _reputation(values: object) -> Reputation:
    if not isinstance(values, list) or len(values) != len(_FIELDS):
        raise ValueError("not a reputation")
    for name, value in zip(_FIELDS, values, strict=True):
        is_count = name in ("steps", "offences")
        if isinstance(value, bool) or not isinstance(value, int if is_count else int | float):
            raise ValueError(f"{name}: not a number")
        if not 0 <= value <= 2**40 or not math.isfinite(value):
            raise ValueError(f"{name}: out of bounds")
    steps, worked_at, offences, offended_at, doubted_until = values
    return Reputation(
        steps=steps,
        worked_at=float(worked_at),
        offences=offences,
        offended_at=float(offended_at),
        doubted_until=float(doubted_until),
    )

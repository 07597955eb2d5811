"""A peer that may hold files of the model."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from p2pinfer.types import Address, PeerId


@dataclass(frozen=True, slots=True)
class Holder:
    """Who and where it is, and a hint what it has: names of files; None if nothing is known."""

    peer_id: PeerId
    address: Address
    may_hold: frozenset[str] | None = None

    def may_help(self, names: Iterable[str]) -> bool:
        """False only if it is known to have none of these files."""
        return self.may_hold is None or not self.may_hold.isdisjoint(names)


FindHolders = Callable[[], Awaitable[Sequence[Holder]]]
"""Looks in the swarm for peers that may hold files. Asked again and again: peers come and go."""

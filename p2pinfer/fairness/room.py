"""Who makes room for a newcomer, of those who hold something that can be taken back. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.shares import Lack, Shares

_What = TypeVar("_What")


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder(Generic[_What]):
    """One thing that a guest holds."""

    what: _What
    guest: Guest
    is_idle: bool
    """It isn't used: whoever needs its place gets it."""
    used_at: float


def first_to_go(
    newcomer: Guest, lack: Lack, holders: Iterable[Holder[_What]], shares: Shares
) -> _What | None:
    """What is to be taken back so that a newcomer gets what it lacks; None if nothing is.

    What is idle goes first, whoever holds it. What is in use goes only where its source or its key has more
    than the newcomer would have: keys cost nothing, so a few of them could hold everything for ever. Of
    several goes that of the source, and then of the key, with most, and of these the one that was used last
    longest ago.
    """
    newcomers_source, newcomers_key = _weight(newcomer, shares)
    best: tuple[tuple[float, ...], _What] | None = None
    for holder in holders:
        if not shares.would_help(holder.guest, newcomer, lack):
            continue
        of_source, of_key = _weight(holder.guest, shares)
        has_more = of_key > newcomers_key + 1 or of_source > newcomers_source + 1
        if not holder.is_idle and not has_more:
            continue
        rank = (holder.is_idle, not holder.guest.is_known, of_source, of_key, -holder.used_at)
        if best is None or rank > best[0]:
            best = rank, holder.what
    return None if best is None else best[1]


def _weight(guest: Guest, shares: Shares) -> tuple[int, int]:
    return shares.most_of_a_source(guest), shares.of_key(guest.key)

"""The delays between servers that are known better than by their distances from the client. Pure.

Without a measurement, a token is taken to need half of both servers' round trips to the client: the delay is
a sum of what belongs to the one and what belongs to the other. So the best next server is the same for
everybody, and only the exceptions below have to be looked at pair by pair.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from itertools import chain, repeat
from operator import methodcaller

import numpy as np
from numpy.typing import NDArray

from p2pinfer.client.route.candidate import LAST_RESORT_SECONDS, Candidate
from p2pinfer.types import PeerId

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

Broken = Collection[tuple[PeerId, PeerId]]
"""Sender and receiver of each link on which a message was lost lately. CLIENT may be either."""

_VALUES = methodcaller("values")


class Links:
    """Pairs of candidates (by index), with the one-way seconds between them, grouped by one of the two."""

    def __init__(self, count: int, keys: Indices, others: Indices, seconds: Floats) -> None:
        """`keys` has the member of each pair by which they are grouped; `count` is the number of groups."""
        narrow = keys.astype(np.uint16) if count <= 2**16 else keys  # sorted without comparisons
        order = np.argsort(narrow, kind="stable")
        self.keys = keys[order]
        self.others = others[order]
        self.seconds = seconds[order]
        self._first = np.concatenate(([0], np.cumsum(np.bincount(keys, minlength=count)))).astype(np.intp)

    def __len__(self) -> int:
        return len(self.others)

    def of(self, key: int) -> tuple[Indices, Floats]:
        """The other member of each pair of this group, and the seconds."""
        group = slice(self._first[key], self._first[key + 1])
        return self.others[group], self.seconds[group]

    def all(self) -> tuple[Indices, Indices, Floats]:
        """The members of every pair, those that group them first, and the seconds."""
        return self.keys, self.others, self.seconds

    def of_all(self, keys: Indices) -> tuple[Indices, Indices, Floats]:
        """The members of each pair of these groups, those of `keys` first, and the seconds."""
        sizes = self._first[keys + 1] - self._first[keys]
        ends = np.cumsum(sizes)
        pairs = np.arange(ends[-1] if len(ends) else 0) + np.repeat(self._first[keys] - (ends - sizes), sizes)
        return np.repeat(keys, sizes), self.others[pairs], self.seconds[pairs]


def known_links(candidates: Sequence[Candidate], broken: Broken) -> tuple[Indices, Indices, Floats]:
    """Sender, receiver and one-way seconds of each pair of candidates whose delay isn't the assumed one.

    Two candidates of one peer never follow each other: infinitely far. A broken link costs the last resort.
    """
    at = dict(zip((candidate.peer_id for candidate in candidates), range(len(candidates)), strict=True))
    known: list[Mapping[PeerId, float]] = [candidate.next_hop_seconds for candidate in candidates]
    if broken:
        _lengthen(known, candidates, at, broken)
    sizes = np.fromiter(map(len, known), np.intp, len(known))
    count = int(sizes.sum())
    senders = np.repeat(np.arange(len(known)), sizes)
    receivers_ = np.fromiter(map(at.get, chain.from_iterable(known), repeat(-1)), np.intp, count)
    round_trips_ = chain.from_iterable(map(_VALUES, known))
    seconds = np.fromiter(round_trips_, np.float64, count) / 2
    is_here = receivers_ >= 0
    senders, receivers_, seconds = senders[is_here], receivers_[is_here], seconds[is_here]
    if len(at) == len(candidates):
        other = senders != receivers_
        return senders[other], receivers_[other], seconds[other]
    groups: dict[PeerId, list[int]] = {}
    for index, candidate in enumerate(candidates):
        groups.setdefault(candidate.peer_id, []).append(index)
    return _with_twins(list(groups.values()), len(candidates), senders, receivers_, seconds)


def _lengthen(
    known: list[Mapping[PeerId, float]],
    candidates: Sequence[Candidate],
    at: Mapping[PeerId, int],
    broken: Broken,
) -> None:
    """Add the price of the last resort to the round trips of broken links, a half for each direction."""
    lost: dict[PeerId, list[PeerId]] = defaultdict(list)
    for sender, receiver in broken:
        if sender in at and receiver in at:
            lost[sender].append(receiver)
    for index, candidate in enumerate(candidates):
        if candidate.peer_id not in lost:
            continue
        round_trips = dict(known[index])
        for receiver in lost[candidate.peer_id]:
            assumed = candidate.round_trip_seconds + candidates[at[receiver]].round_trip_seconds
            round_trips[receiver] = round_trips.get(receiver, assumed) + 2 * LAST_RESORT_SECONDS
        known[index] = round_trips


def _with_twins(
    groups: Sequence[Sequence[int]], count: int, senders: Indices, receivers: Indices, seconds: Floats
) -> tuple[Indices, Indices, Floats]:
    """Repeat each link for all candidates of the receiving peer, and cut those between a peer's own."""
    peer = np.empty(count, np.intp)
    for number, group in enumerate(groups):
        peer[list(group)] = number
    parts = [(senders, receivers, seconds)]
    for group in groups:
        for twin in group[:-1]:  # the links so far lead to the last one
            to_last = receivers == group[-1]
            parts.append((senders[to_last], np.full(int(to_last.sum()), twin), seconds[to_last]))
    senders, receivers, seconds = (np.concatenate(column) for column in zip(*parts, strict=True))
    other = peer[senders] != peer[receivers]
    cut = [(one, two) for group in groups if len(group) > 1 for one in group for two in group if one != two]
    ones = np.array([one for one, _ in cut], np.intp)
    twos = np.array([two for _, two in cut], np.intp)
    return (
        np.concatenate((senders[other], ones)),
        np.concatenate((receivers[other], twos)),
        np.concatenate((seconds[other], np.full(len(cut), np.inf))),
    )

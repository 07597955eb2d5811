"""The delays between servers that are known better than by their distances from the client. Pure.

Without a measurement, a token is taken to need half of both servers' round trips to the client: the delay is
a sum of what belongs to the one and what belongs to the other. So the best next server is the same for
everybody, and only the exceptions below have to be looked at pair by pair.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain, repeat
from operator import attrgetter, methodcaller

import numpy as np
from numpy.typing import NDArray

from p2pinfer.client.route.candidate import LAST_RESORT_SECONDS, Candidate
from p2pinfer.types import PeerId

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

Broken = Collection[tuple[PeerId, PeerId]]
"""Sender and receiver of each link on which a message was lost lately. CLIENT may be either."""

_VALUES = methodcaller("values")
_PEER_ID = attrgetter("peer_id")


class Ways:
    """The round trips that servers have measured to each other, as arrays, for all searches in the same ones.

    To number the peers takes longer than a search.
    """

    def __init__(self, measured: Mapping[PeerId, Mapping[PeerId, float]]) -> None:
        """`measured` has every server that is known, and the round trips that it announces, in seconds."""
        self.numbers = dict(zip(measured, range(len(measured)), strict=True))
        sizes = np.fromiter(map(len, measured.values()), np.intp, len(measured))
        count = int(sizes.sum())
        senders = np.repeat(np.arange(len(measured)), sizes)
        names = chain.from_iterable(measured.values())
        receivers = np.fromiter(map(self.numbers.get, names, repeat(-1)), np.intp, count)
        round_trips = chain.from_iterable(map(_VALUES, measured.values()))
        seconds = np.fromiter(round_trips, np.float64, count) / 2
        order = np.argsort(receivers, kind="stable")
        order = order[(receivers >= 0)[order] & (receivers != senders)[order]]
        self.senders: Indices = senders[order]
        self.receivers: Indices = receivers[order]
        self.seconds: Floats = seconds[order]

    @classmethod
    def of(cls, candidates: Iterable[Candidate]) -> Ways:
        """The round trips that the candidates themselves have."""
        return cls({candidate.peer_id: candidate.next_hop_seconds for candidate in candidates})


class Links:
    """Pairs of candidates (by index), with the one-way seconds between them, grouped by one of the two."""

    def __init__(self, count: int, keys: Indices, others: Indices, seconds: Floats) -> None:
        """`keys` has the member of each pair by which they are grouped; `count` is the number of groups."""
        if (keys[1:] < keys[:-1]).any():
            order = np.argsort(keys, kind="stable")
            keys, others, seconds = keys[order], others[order], seconds[order]
        self.keys, self.others, self.seconds = keys, others, seconds
        self.count = len(keys)
        self._sizes = np.bincount(keys, minlength=count)
        self._first = np.cumsum(self._sizes) - self._sizes

    def of(self, key: int) -> tuple[Indices, Floats]:
        """The other member of each pair of this group, and the seconds."""
        group = slice(self._first[key], self._first[key] + self._sizes[key])
        return self.others[group], self.seconds[group]

    def of_all(self, keys: Indices) -> tuple[Indices, Indices, Floats]:
        """The members of each pair of these groups, those of `keys` first, and the seconds."""
        sizes = self._sizes[keys]
        ends = sizes.cumsum()
        pairs = np.repeat(self._first[keys] + (sizes - ends), sizes)
        pairs += np.arange(len(pairs))
        return self.keys[pairs], self.others[pairs], self.seconds[pairs]

    def some(self, pairs: Indices) -> Links:
        """Some of the pairs, by their places in order."""
        return Links(len(self._sizes), self.keys[pairs], self.others[pairs], self.seconds[pairs])

    def most(self, values: Floats, otherwise: float) -> Floats:
        """For each group the largest of `values`, which has one for each pair; `otherwise` if it has none."""
        found = np.full(len(self._sizes), otherwise)
        groups = np.flatnonzero(self._sizes)
        if len(groups):
            found[groups] = np.maximum.reduceat(values, self._first[groups])
        return found


def known_links(
    candidates: Sequence[Candidate],
    ways: Ways,
    broken: Broken,
    distances: Floats,
    way_weight: float,
) -> tuple[Indices, Indices, Floats]:
    """Sender, receiver and one-way price of each pair of candidates whose delay isn't the assumed one.

    The price is in seconds per token, of which a second on the way costs `way_weight`. So are `distances`,
    the half of each candidate's round trip to the client. The client has measured those itself: whatever is
    announced, no way is taken for shorter than the difference of its ends' distances.
    Two candidates of one peer never follow each other: infinitely far. A broken link costs the last resort.
    """
    peers = list(map(_PEER_ID, candidates))
    numbers = np.fromiter(map(ways.numbers.get, peers, repeat(-1)), np.intp, len(peers))
    here = np.flatnonzero(numbers >= 0)
    place = np.full(len(ways.numbers), -1)
    place[numbers[here]] = here
    senders, receivers = place[ways.senders], place[ways.receivers]
    if (place < 0).any():  # a peer may have several candidates, or none
        both = np.flatnonzero((senders >= 0) & (receivers >= 0))
        senders, receivers, seconds = senders[both], receivers[both], ways.seconds[both] * way_weight
    else:
        seconds = ways.seconds * way_weight
    links = senders, receivers, np.maximum(seconds, np.abs(distances[senders] - distances[receivers]))
    if not broken and len(set(peers)) == len(peers):
        return links
    groups: dict[PeerId, list[int]] = defaultdict(list)
    for index, peer_id in enumerate(peers):
        groups[peer_id].append(index)
    for members in groups.values():
        for twin in members[:-1]:  # the links so far are those of the last one
            links = _with_twin(twin, members[-1], links)
    links = _with_broken(broken, groups, distances, links)
    return _without_own(groups, links)


def _with_twin(
    twin: int, one: int, links: tuple[Indices, Indices, Floats]
) -> tuple[Indices, Indices, Floats]:
    """Add the links of `one`, which is the same peer, for its twin."""
    senders, receivers, seconds = links
    out, into = senders == one, receivers == one
    return (
        np.concatenate((senders, np.full(int(out.sum()), twin), senders[into])),
        np.concatenate((receivers, receivers[out], np.full(int(into.sum()), twin))),
        np.concatenate((seconds, seconds[out], seconds[into])),
    )


def _with_broken(
    broken: Broken,
    groups: Mapping[PeerId, Sequence[int]],
    distances: Floats,
    links: tuple[Indices, Indices, Floats],
) -> tuple[Indices, Indices, Floats]:
    """Add the price of the last resort to the delays of broken links."""
    senders, receivers, seconds = links
    new: list[tuple[int, int, float]] = []
    seconds = seconds.copy()
    for sender, receiver in broken:
        for one in groups.get(sender, ()):
            for two in groups.get(receiver, ()):
                known = np.flatnonzero((senders == one) & (receivers == two))
                seconds[known] += LAST_RESORT_SECONDS
                if not len(known):
                    assumed = float(distances[one] + distances[two])
                    new.append((one, two, assumed + LAST_RESORT_SECONDS))
    return _joined(senders, receivers, seconds, new)


def _without_own(
    groups: Mapping[PeerId, Sequence[int]], links: tuple[Indices, Indices, Floats]
) -> tuple[Indices, Indices, Floats]:
    """Cut the links between a peer's own candidates."""
    own = {(one, two) for group in groups.values() if len(group) > 1 for one in group for two in group}
    return _joined(*links, [(one, two, np.inf) for one, two in sorted(own) if one != two])


def _joined(
    senders: Indices, receivers: Indices, seconds: Floats, new: Sequence[tuple[int, int, float]]
) -> tuple[Indices, Indices, Floats]:
    """Add links to others."""
    more_senders = np.array([sender for sender, _, _ in new], np.intp)
    more_receivers = np.array([receiver for _, receiver, _ in new], np.intp)
    return (
        np.concatenate((senders, more_senders)),
        np.concatenate((receivers, more_receivers)),
        np.concatenate((seconds, np.array([one for _, _, one in new], np.float64))),
    )

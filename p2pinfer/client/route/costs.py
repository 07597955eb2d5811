"""What is still to pay from every server at every layer to the end of the route. Pure.

One sweep from the last layer to the first. At each boundary between layers it knows, for all servers at once,
what the rest of the route costs from there if the server goes on, and if it hands over: dynamic programming
over (boundary, server) with min-plus products, whose matrix of delays is a sum but for the known links. So a
boundary takes one pass over the servers, and a look at the links that may be the better way.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2pinfer.client.route.candidate import CLIENT, LAST_RESORT_SECONDS, Candidate
from p2pinfer.client.route.links import Broken, Floats, Indices, Links, Ways, known_links

Counts = NDArray[np.int16]

EQUAL_SECONDS = 1e-12
"""Sums of the same numbers in another order differ by less; nothing that is measured does."""

_FEW_LINKS = 8192
"""Up to so many are looked at all together; of more, first those to servers that are near the best one."""


class Costs:
    """The costs of routes through candidates of one numerics class, in seconds per token.

    A route may change servers at `boundaries`, which are counted by their place in that list. Without known
    links those are the layers where some server begins or ends: between two of them the cost of changing is a
    straight line, whose lowest value lies at an end, and no detour is quicker than the direct way. With known
    or broken links a detour over one layer of a third server may be quicker: then every layer is one.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        num_layers: int,
        ways: Ways,
        broken: Broken,
        *,
        way_weight: float = 1.0,
        for_walking: bool = True,
    ) -> None:
        """`way_weight` is what a second on the way costs; LAST_RESORT_SECONDS have no weight.

        `for_walking` keeps what `next_hops` needs: ten bytes for each server and boundary."""
        self._is_for_walking = for_walking
        self.candidates = candidates
        self.starts = self._column("layers.start", np.int16)
        self.ends = np.minimum(self._column("layers.end", np.int16), num_layers)
        self.speeds: Floats = self._column("seconds_per_layer", np.float64)
        self.distances: Floats = self._column("round_trip_seconds", np.float64) * (way_weight / 2)
        self.entries: Floats = self._column("entry_seconds", np.float64)
        self.held = np.flatnonzero(self._column("held", np.bool_))
        self._arrivals = self.entries + self.distances
        self.fresh = np.ones(len(candidates), np.int16)
        self.fresh[self.held] = 0
        self._from_client, self._to_client = self.distances.copy(), self.distances.copy()
        self._break_client_links(broken)

        senders, receivers, seconds = self._links = known_links(
            candidates, ways, broken, self.distances, way_weight
        )
        self._has_links = len(senders) > 0
        count = len(candidates)
        # Without the half of the way that a receiver's costs have already.
        self._known = Links(count, receivers, senders, seconds - self.distances[receivers])
        gains = self.distances[self._known.others] - self._known.seconds
        self._longer = self._known.some(np.flatnonzero(gains < 0))
        self._most_gain = self._known.most(gains, otherwise=-np.inf)

        cuts = {0, num_layers, *self.starts.tolist(), *self.ends.tolist()}
        self.boundaries = list(range(num_layers + 1)) if len(senders) or broken else sorted(cuts)
        # Of a server at a boundary, if it computes the next layers: what the rest costs, and its new hops.
        self._rest: list[Floats] = [np.full(count, np.inf)] * len(self.boundaries)
        self._hops: list[Counts] = [np.zeros(count, np.int16)] * len(self.boundaries)
        self._best_entry = np.full(len(self.boundaries), np.inf)
        self._sweep()

    def first(self) -> tuple[Floats, Counts]:
        """For each candidate as the first hop: the cost of the cheapest whole route, and its new hops."""
        costs = self._entered(0) - self.distances + self._from_client
        return costs, self.fresh + self._hops[0]

    def arrival_seconds(self, first: int) -> float:
        """What it costs to enter this first hop."""
        return float(self._from_client[first] + self.entries[first])

    def finish_seconds(self, hop: int) -> float:
        """The way from this hop to the client if it has the last layer; else infinite."""
        return float(self._to_client[hop]) if self.ends[hop] == self.boundaries[-1] else float("inf")

    def next_hops(
        self, hop: int, entered: int, most_seconds: float, most_hops: int
    ) -> tuple[Floats, Indices]:
        """For each candidate as the next hop: what the rest of the route costs, and where it begins.

        `hop` was entered at boundary `entered`; its own layers count. Of several boundaries the cheapest is
        taken. The cost is infinite if it exceeds `most_seconds`, or if more than `most_hops` new hops follow.
        """
        best, changes = np.full(len(self.candidates), np.inf), np.zeros(len(self.candidates), np.intp)
        others, seconds = self._links_from(hop)
        here = float(self.distances[hop])
        most_gain = float((here + self.distances[others] - seconds).max(initial=0.0))
        for boundary in range(entered + 1, len(self.boundaries) - 1):
            layers = self.boundaries[boundary] - self.boundaries[entered]
            if self.boundaries[boundary] > self.ends[hop]:
                break
            if not self.fresh[hop] and self.boundaries[boundary] != self.ends[hop]:
                continue
            spent = layers * float(self.speeds[hop]) + here
            if spent + self._best_entry[boundary] - most_gain > most_seconds:
                continue
            costs = self._entered(boundary)
            costs[others] += seconds - here - self.distances[others]
            costs += spent
            costs[hop] = np.inf
            costs[(costs > most_seconds) | (self.fresh + self._hops[boundary] > most_hops)] = np.inf
            better = costs < best - EQUAL_SECONDS if boundary > entered + 1 else costs < best
            np.copyto(best, costs, where=better)
            np.copyto(changes, boundary, where=better)
        return best, changes

    def change_seconds(self, hop: int, following: int, layers: int) -> float:
        """What it costs that `hop` computes so many layers and that `following` is entered then."""
        others, seconds = self._links_from(hop)
        known = seconds[others == following]
        way = float(known[0]) if len(known) else float(self.distances[hop] + self.distances[following])
        return layers * float(self.speeds[hop]) + way + float(self.entries[following])

    def _links_from(self, hop: int) -> tuple[Indices, Floats]:
        """The candidates to which the way from `hop` is known, and the seconds."""
        senders, receivers, seconds = self._links
        its = np.flatnonzero(senders == hop)
        return receivers[its], seconds[its]

    def _column(self, name: str, kind: Any) -> Any:
        return np.fromiter(map(attrgetter(name), self.candidates), kind, len(self.candidates))

    def _break_client_links(self, broken: Broken) -> None:
        senders = {sender for sender, receiver in broken if receiver == CLIENT}
        receivers = {receiver for sender, receiver in broken if sender == CLIENT}
        for index, candidate in enumerate(self.candidates if senders or receivers else ()):
            self._to_client[index] += LAST_RESORT_SECONDS * (candidate.peer_id in senders)
            self._from_client[index] += LAST_RESORT_SECONDS * (candidate.peer_id in receivers)

    def _sweep(self) -> None:
        handing_over, hops_after = self._to_client, np.zeros(len(self.candidates), np.int16)
        edges = np.array(self.boundaries, np.int16)[:, np.newaxis]
        all_absent = (self.starts > edges[:-1]) | (self.ends < edges[1:])
        for boundary in range(len(self.boundaries) - 2, -1, -1):
            start, end = self.boundaries[boundary], self.boundaries[boundary + 1]
            absent = all_absent[boundary]
            if boundary < len(self.boundaries) - 2:
                handing_over, hops_after = self._hand_over(boundary + 1, absent)
            if len(self.held):  # a held cache serves all its layers or none
                handing_over[self.held[self.ends[self.held] != end]] = np.inf
            going_on = self._rest[boundary + 1]
            changes = handing_over < going_on - EQUAL_SECONDS
            self._hops[boundary] = np.where(changes, hops_after, self._hops[boundary + 1])
            rest = np.minimum(handing_over, going_on)
            rest += self.speeds if end - start == 1 else (end - start) * self.speeds
            rest[absent] = np.inf
            self._rest[boundary] = rest
            if not self._is_for_walking:
                self._rest[boundary + 1], self._hops[boundary + 1] = rest[:0], hops_after[:0]

    def _entered(self, boundary: int) -> Floats:
        """For each server: what the rest costs if a route comes to it here, its half of the way included."""
        costs: Floats = self._rest[boundary] + self._arrivals
        if len(self.held):
            costs[self.held[self.starts[self.held] != self.boundaries[boundary]]] = np.inf
        return costs

    def _hand_over(self, boundary: int, absent: NDArray[np.bool_]) -> tuple[Floats, Counts]:
        """For each server: the cost of the rest if the route leaves it at this boundary, and its new hops.

        Those that are `absent`, because they don't have the layers before it, get any number.
        """
        costs = self._entered(boundary)
        best = int(costs.argmin())
        least = self._best_entry[boundary] = float(costs[best])
        handing_over: Floats = self.distances + least
        if least == np.inf or not self._has_links:
            return handing_over, self.fresh[best : best + 1] + self._hops[boundary][best]
        handing_over[absent] = -np.inf  # no link is better than that
        following: Indices = np.empty(len(costs), np.intp)
        following.fill(best)
        if self._longer.count:
            least = self._take_longer_ways(best, costs, handing_over, following)
        self._take_shorter_ways(least, costs, handing_over, following)
        return handing_over, (self.fresh + self._hops[boundary])[following]

    def _take_longer_ways(self, best: int, costs: Floats, handing_over: Floats, following: Indices) -> float:
        """Correct the servers from which the way to the best next one is longer than assumed.

        Each takes that way, or goes to the next best one, unless the way there is longer as well, and so on.
        Returns the most that any server pays after its own half of the way.
        """
        senders, seconds = self._longer.of(best)
        present = handing_over[senders] != -np.inf
        senders, seconds = senders[present], seconds[present]
        if not len(senders):
            return float(costs[best])
        corrected = senders
        handing_over[senders] = np.inf
        rest = costs.copy()
        while len(senders):
            self._improve(senders, seconds + costs[best], best, handing_over, following)
            rest[best] = np.inf
            best = int(rest.argmin())
            assumed = self.distances[senders] + rest[best]
            senders = senders[assumed < handing_over[senders]]  # the others have found the best way
            longer, longer_seconds = self._longer.of(best)
            is_longer = np.isin(senders, longer, assume_unique=True)
            direct = senders[~is_longer]
            self._improve(direct, self.distances[direct] + rest[best], best, handing_over, following)
            among = np.isin(longer, senders[is_longer], assume_unique=True)
            senders, seconds = longer[among], longer_seconds[among]
        return max(float(costs.min()), float((handing_over[corrected] - self.distances[corrected]).max()))

    def _take_shorter_ways(
        self, most: float, costs: Floats, handing_over: Floats, following: Indices
    ) -> None:
        """Let each server take a link that is shorter than assumed, where that is the better way.

        `most` is the most that any server pays so far after its own half of the way.
        """
        if self._known.count <= _FEW_LINKS:
            receivers, senders, seconds = self._known.keys, self._known.others, self._known.seconds
        else:
            worth = np.flatnonzero(costs - self._most_gain < most)
            receivers, senders, seconds = self._known.of_all(worth)
        found = costs.take(receivers)
        found += seconds
        better = (found < handing_over.take(senders)).nonzero()[0]
        if not len(better):
            return
        better = better[found[better].argsort()[::-1]]  # of several for one sender the last one stays
        senders = senders[better]
        handing_over[senders] = found[better]
        following[senders] = receivers[better]

    @staticmethod
    def _improve(
        senders: Indices, found: Floats, receiver: int, handing_over: Floats, following: Indices
    ) -> None:
        better = found < handing_over[senders]
        handing_over[senders[better]] = found[better]
        following[senders[better]] = receiver

"""What a set of servers can do together, from the layers and the speeds that they announce. Pure.

The servers of one call compute alike: routes never mix numerics classes, and whoever asks for all classes
adds up or chooses. Two thousand servers of a model of 4,096 layers take some 60 ms.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

from p2pinfer.health.snapshot.state import Stretch
from p2pinfer.types import Span

HOP_SECONDS = 0.0006
"""What one more hop is taken to cost a token: measured between processes of one machine.

The page stands somewhere else than whoever generates, so that it knows nothing of their network: a route
over the internet is slower than this by its round trip.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """A server that serves, as far as it matters here."""

    layers: Span
    seconds_per_layer: float | None  # of one token; None: it doesn't say

    @property
    def tokens_per_second(self) -> float:
        """Of one stream through all of its layers; 0 where it doesn't say."""
        return 1.0 / (len(self.layers) * self.seconds_per_layer) if self.seconds_per_layer else 0.0


def replicas(spans: Iterable[Span], num_layers: int) -> tuple[Stretch, ...]:
    """How many of the spans hold each layer of [0, num_layers), as the fewest stretches, in order.

    No span may reach beyond `num_layers`.
    """
    changes = {0: 0, num_layers: 0}
    for span in spans:
        changes[span.start] = changes.get(span.start, 0) + 1
        changes[span.end] = changes.get(span.end, 0) - 1
    cuts = sorted(cut for cut, change in changes.items() if change or cut in (0, num_layers))
    counts = accumulate(changes[cut] for cut in cuts)
    return tuple(
        Stretch(start=start, end=end, replicas=count)
        for (start, end), count in zip(pairwise(cuts), counts, strict=False)
    )


def weakest(stretches: Iterable[Stretch]) -> int:
    """The replicas of the layer that has fewest."""
    return min((stretch.replicas for stretch in stretches), default=0)


def throughput(runners: Iterable[Runner], num_layers: int) -> float:
    """Tokens per second of many streams together: what the layer with the slowest servers lets through.

    Every server is taken to spend all of its time on its own layers, one token at a time: batches make it
    more, a shared uplink makes it less.
    """
    rates = [(runner.layers, runner.tokens_per_second) for runner in runners]
    changes = dict.fromkeys((0, num_layers), 0.0)
    held = dict.fromkeys((0, num_layers), 0)
    for span, rate in rates:
        for cut, sign in ((span.start, 1), (span.end, -1)):
            changes[cut] = changes.get(cut, 0.0) + sign * rate
            held[cut] = held.get(cut, 0) + sign * (rate > 0)
    cuts = sorted(changes)
    least, rate, count = float("inf"), 0.0, 0
    for cut in cuts[:-1]:
        rate, count = rate + changes[cut], count + held[cut]
        # Counted, because a sum of fractions that were added and taken away again is rarely zero.
        least = min(least, rate if count else 0.0)
    return max(least, 0.0)


def best_route_seconds(
    runners: Sequence[Runner], num_layers: int, hop_seconds: float = HOP_SECONDS
) -> float | None:
    """Seconds that one token takes through the cheapest chain of servers; None if none is known.

    A chain may enter and leave a server in the middle of its layers. It changes servers only where one of
    them begins or ends: between two such layers the cost of changing is a straight line, whose least value
    lies at an end. So at each cut, in order, every server that goes on from there is at what it cost to come
    here on it, or to come here on the best and change.
    """
    known = [runner for runner in runners if runner.seconds_per_layer]
    if not known:
        return None
    starts = np.array([runner.layers.start for runner in known])
    ends = np.array([runner.layers.end for runner in known])
    speeds = np.array([runner.seconds_per_layer for runner in known])
    cuts = sorted({0, num_layers, *starts.tolist(), *ends.tolist()})
    seconds = np.full(len(known), np.inf)  # of the cheapest chain up to the cut that is on this server there
    best = 0.0
    for start, end in pairwise(cuts):
        goes_on = (starts <= start) & (end <= ends)
        stepped = np.minimum(seconds, best + hop_seconds) + speeds * (end - start)
        seconds = np.where(goes_on, stepped, np.inf)
        best = float(seconds.min())
        if best == float("inf"):
            return None
    return best

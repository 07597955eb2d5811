"""Which layers a set of servers holds, and how fast. Pure: spans and rates in, numbers out.

One sweep over the layers where some server begins or ends answers every such question. Its time grows with
the number of servers, not with servers times layers: 2,000 servers of 4,096 layers take about 5 ms.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from p2pinfer.types import Span


@dataclass(frozen=True, slots=True)
class HeldStretch:
    """Neighbouring layers that the same servers hold, or equally many with the same total rate."""

    layers: Span
    servers: int
    rate: float  # the sum of the servers' rates, in the caller's unit; 0.0 where no server holds the layers


def sweep(holders: Iterable[tuple[Span, float]], num_layers: int) -> list[HeldStretch]:
    """Cut [0, num_layers) into the fewest stretches, in order, from the span and the rate of each server.

    Layers beyond `num_layers` are left out.
    """
    servers, rates = {0: 0, num_layers: 0}, {0: 0.0, num_layers: 0.0}  # changes, by the layer
    with_rate = {0: 0, num_layers: 0}
    for span, rate in holders:
        for cut, sign in ((min(span.start, num_layers), 1), (min(span.end, num_layers), -1)):
            servers[cut] = servers.get(cut, 0) + sign
            rates[cut] = rates.get(cut, 0.0) + sign * rate
            with_rate[cut] = with_rate.get(cut, 0) + sign * (rate > 0.0)
    cuts = sorted(cut for cut in servers if servers[cut] or rates[cut] or cut in (0, num_layers))
    stretches, held, fast, total = [], 0, 0, 0.0
    for start, end in pairwise(cuts):
        held, fast, total = held + servers[start], fast + with_rate[start], total + rates[start]
        # Fractions that were added and taken away again rarely leave exactly zero, so the count decides.
        stretches.append(HeldStretch(Span(start, end), held, max(0.0, total) if fast else 0.0))
    return stretches


def replicas(spans: Iterable[Span], num_layers: int) -> list[HeldStretch]:
    """How many of the spans hold each layer of [0, num_layers), as the fewest stretches, in order."""
    return sweep(((span, 0.0) for span in spans), num_layers)


def missing_spans(spans: Iterable[Span], num_layers: int) -> tuple[Span, ...]:
    """The layers of [0, num_layers) that none of the spans holds, as the fewest spans, in order."""
    return tuple(stretch.layers for stretch in replicas(spans, num_layers) if not stretch.servers)


def lowest_rate(holders: Iterable[tuple[Span, float]], num_layers: int) -> float:
    """The total rate at the layer of [0, num_layers) where it is lowest; 0.0 if a layer has no server."""
    return max(0.0, min((stretch.rate for stretch in sweep(holders, num_layers)), default=0.0))

"""Which layers a joining server takes. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from p2pinfer.types import Span


def choose_span(coverage: Sequence[int], num_layers: int, held: Collection[int] = ()) -> Span:
    """Return the `num_layers` consecutive layers that the swarm lacks most.

    `coverage[i]` counts the servers that hold layer i. Windows are compared by their number of layers that
    no server holds, then by those that one server holds, and so on. So a gap is filled before a thin stretch
    is strengthened. Of equal windows the one with most layers that are `held` already is taken, of those the
    first.
    """
    total = len(coverage)
    size = min(num_layers, total)

    def need(start: int) -> tuple[tuple[int, ...], int, int]:
        window = coverage[start : start + size]
        levels = range(max(coverage, default=0) + 1)
        lacks = tuple(sum(count == level for count in window) for level in levels)
        return lacks, sum(layer in held for layer in range(start, start + size)), -start

    start = max(range(total - size + 1), key=need)
    return Span(start, start + size)

"""The span of layers with which one more server helps a model most. Pure.

What counts is the weakest layer, because every token passes all layers: its throughput is raised as far as
it can be. Among spans that raise it equally, the next weakest layer counts, and so on (*leximin* order). So a
gap is filled before a thin stretch is strengthened, and a slow stretch before a fast one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from p2pinfer.swarm.census.stretches import HeldStretch
from p2pinfer.types import PeerId, Span

Rates: TypeAlias = NDArray[np.float64]
"""[layers] Tokens per second that the servers of a model carry through each of its layers."""
Numbers: TypeAlias = NDArray[np.int64]

_LEVEL = 1.05
"""Rates within a factor of this are equal. Speeds are measured no better, and equals may use their disks."""
_LOWEST_RATE = 1e-9  # what no level tells from nothing
_MOST_SIZES = 16
_MOST_CELLS = 2_000_000
"""Candidates times layers that are compared in full: 100 ms at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How many layers a server may take."""

    least: int
    usual: int
    most: int  # more than usual only if that leaves no gap

    @classmethod
    def exactly(cls, number: int) -> Sizes:
        """The owner's number."""
        return cls(least=number, usual=number, most=number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Newcomer:
    """The server that chooses."""

    peer_id: PeerId
    model: str  # manifest hash
    sizes: Sizes
    layer_rate: float  # layer-tokens per second
    held: Collection[int] = ()  # layers whose files are on its disk

    def lot(self, span: Span) -> bytes:
        """What tells equal spans apart: drawn by each server for itself, so that equals spread out."""
        return hashlib.sha256(f"{self.peer_id} {self.model} {span}".encode()).digest()


def share_here(held: Iterable[bool]) -> Span | None:
    """The longest run of layers that a disk holds, the first of equals. None if it holds all, or none.

    >>> share_here([False, True, True, False, True])
    Span(start=1, end=3)
    """
    layers = list(held)
    if all(layers):
        return None
    runs, start = [], 0
    for is_held, run in groupby(layers):
        end = start + len(list(run))
        runs += [Span(start, end)] if is_held else []
        start = end
    return max(runs, key=len, default=None)


def rates_of(stretches: Sequence[HeldStretch]) -> Rates:
    """Layer by layer."""
    numbers = [len(stretch.layers) for stretch in stretches]
    return np.repeat(np.array([stretch.rate for stretch in stretches], dtype=np.float64), numbers)


def with_server(rates: Rates, span: Span, layer_rate: float) -> Rates:
    """The rates with one more server on these layers; with a negative rate, with one less."""
    changed = rates.copy()
    changed[span.start : span.end] += layer_rate / len(span)
    return np.maximum(changed, 0.0)


def is_better(rates: Rates, other: Rates) -> bool:
    """True if a model with `rates` does more than one with `other`: the weakest layers decide."""
    ours, theirs = np.sort(_levels(rates)), np.sort(_levels(other))
    differ = np.flatnonzero(ours != theirs)
    return bool(len(differ)) and bool(ours[differ[0]] > theirs[differ[0]])


def choose_span(rates: Rates, newcomer: Newcomer) -> Span:
    """Return the layers with which the newcomer raises the weakest layers most.

    `rates` are those without the newcomer. Of equally good spans it takes the one with most layers on its
    disk, then one whose ends meet those of others, so that nobody has to fill scraps, then by lot.

    Only spans that begin or end where something changes are compared. Between two such places the outcome
    changes in one direction, so that the best lies at one of them.
    """
    cuts = _cuts(rates)
    starts, ends = _candidates(rates, newcomer, cuts)
    best = _highest_rows(_outcomes(rates, starts, ends, newcomer.layer_rate), np.arange(len(starts)))
    if newcomer.held:
        has = _sums_before(np.isin(np.arange(len(rates)), list(newcomer.held)))
        best = _highest(has[ends] - has[starts], best)
    best = _highest(np.isin(starts, cuts) * 1 + np.isin(ends, cuts), best)
    return max((Span(int(starts[index]), int(ends[index])) for index in best), key=newcomer.lot)


def _cuts(rates: Rates) -> Numbers:
    """The layers at which a stretch begins, and the end."""
    levels = _levels(rates)
    return np.concatenate(([0], np.flatnonzero(levels[1:] != levels[:-1]) + 1, [len(rates)]))


def _candidates(rates: Rates, newcomer: Newcomer, cuts: Numbers) -> tuple[Numbers, Numbers]:
    """The starts and the ends of the spans to compare. There is at least one."""
    total, levels = len(rates), _levels(rates)
    places = cuts
    if newcomer.held:
        held = np.isin(np.arange(-1, total + 1), list(newcomer.held))
        places = np.union1d(cuts, np.flatnonzero(held[1:] != held[:-1]))
    empty, weak = _sums_before(levels == 0), _sums_before(levels == levels.min())
    found: list[tuple[Numbers, Numbers]] = []
    for size in _sizes(newcomer.sizes, total):
        starts = np.unique(np.concatenate((places, places - size)))
        starts = starts[(starts >= 0) & (starts <= total - size)]
        if size > newcomer.sizes.usual:
            starts = starts[empty[starts + size] - empty[starts] == empty[-1]]
        found.append((starts, starts + size))
    starts, ends = (np.concatenate(part) for part in zip(*found, strict=True))
    most = max(1, _MOST_CELLS // total)
    if len(starts) > most:  # a sketch of the order: how many of the weakest layers a span helps
        keep = np.sort(np.argsort(weak[starts] - weak[ends], kind="stable")[:most])
        starts, ends = starts[keep], ends[keep]
    return starts, ends


def _sums_before(flags: NDArray[np.bool_]) -> Numbers:
    """[layers + 1] How many of the layers before each one have the flag."""
    return np.concatenate(([0], np.cumsum(flags)))


def _sizes(sizes: Sizes, total: int) -> list[int]:
    """The numbers of layers to compare, evenly spread if there are many."""
    least, most = (max(1, min(total, number)) for number in (sizes.least, sizes.most))
    usual = max(least, min(total, sizes.usual))
    if least == most:
        return [least]
    spread = np.linspace(least, most, num=min(_MOST_SIZES, most - least + 1)).round().astype(int)
    return sorted({usual, *spread.tolist()})


def _outcomes(rates: Rates, starts: Numbers, ends: Numbers, layer_rate: float) -> Numbers:
    """[spans, layers] The levels with the newcomer on each of the spans, ascending."""
    layers = np.arange(len(rates))
    taken = (starts[:, None] <= layers) & (layers < ends[:, None])
    added = taken * (layer_rate / (ends - starts))[:, None]
    outcomes: Numbers = np.sort(_levels(rates + added), axis=1)
    return outcomes


def _levels(rates: NDArray[np.float64]) -> Numbers:
    """Rates in steps of a few per cent; 0 is none."""
    held = np.maximum(rates, _LOWEST_RATE)
    levels: Numbers = np.floor(np.log(held / _LOWEST_RATE) / np.log(_LEVEL) + 1e-6).astype(np.int64)
    return levels


def _highest_rows(rows: Numbers, indices: Numbers) -> Numbers:
    """Those of the indices whose rows are highest, the first column first."""
    for column in range(rows.shape[1]):
        if len(indices) == 1:
            break
        indices = _highest(rows[:, column], indices)
    return indices


def _highest(values: Numbers, indices: Numbers) -> Numbers:
    """Those of the indices with the highest value."""
    among = values[indices]
    highest: Numbers = indices[among == among.max()]
    return highest

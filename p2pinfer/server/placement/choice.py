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
    spans = _candidates(rates, newcomer, cuts)
    layer_rate = _felt_rate(rates, newcomer)
    raised = np.stack([_levels(rates + layer_rate / size) for size in spans.sizes])
    best = spans.best(_levels(rates), raised)
    if newcomer.held:
        has = _sums_before(_flags(newcomer.held, len(rates)))
        best = _highest(has[spans.ends] - has[spans.starts], best)
    best = _highest(cuts[spans.starts] * 1 + cuts[spans.ends], best)
    return max((Span(int(spans.starts[one]), int(spans.ends[one])) for one in best), key=newcomer.lot)


def _felt_rate(rates: Rates, newcomer: Newcomer) -> float:
    """The newcomer's rate; among very many servers, that of as many like it as can be felt together.

    One of a thousand changes no layer by a step. If all chose by that, all spans would be equal to all.
    """
    usual = max(1, min(newcomer.sizes.usual, len(rates)))
    return max(newcomer.layer_rate, (_LEVEL**2 - 1.0) * float(rates.min()) * usual)


@dataclass(frozen=True, slots=True)
class _Spans:
    """The spans to compare. There is at least one."""

    sizes: list[int]
    starts: Numbers  # [spans]
    ends: Numbers
    size_indices: Numbers

    def best(self, levels: Numbers, raised: Numbers) -> Numbers:
        """The indices of those that raise the weakest layers most.

        `levels` [layers] are those without the newcomer, `raised` [sizes, layers] with it. Most
        spans are told apart by the weakest layer, and how many are as weak.
        """
        layers = np.arange(len(levels))
        taken = (self.starts[:, None] <= layers) & (layers < self.ends[:, None])
        outcomes = np.where(taken, raised[self.size_indices], levels)
        lowest = outcomes.min(axis=1)
        best = _highest(lowest, np.arange(len(outcomes)))
        best = best[_highest(-(outcomes[best] == lowest[best[0]]).sum(axis=1), np.arange(len(best)))]
        return best[_highest_rows(np.sort(outcomes[best], axis=1), np.arange(len(best)))]


def _cuts(rates: Rates) -> NDArray[np.bool_]:
    """[layers + 1] True where a stretch begins, and at the end."""
    levels = _levels(rates)
    return np.concatenate(([True], levels[1:] != levels[:-1], [True]))


def _candidates(rates: Rates, newcomer: Newcomer, cuts: NDArray[np.bool_]) -> _Spans:
    """The spans to compare."""
    total, levels = len(rates), _levels(rates)
    places = cuts
    if newcomer.held:
        held = np.concatenate(([False], _flags(newcomer.held, total), [False]))
        places = cuts | (held[1:] != held[:-1])
    empty, weak = _sums_before(levels == 0), _sums_before(levels == levels.min())
    sizes = _sizes(newcomer.sizes, total)
    found: list[Numbers] = []
    for size in sizes:
        starts = np.flatnonzero(places[: total - size + 1] | places[size:])
        if size > newcomer.sizes.usual:
            starts = starts[empty[starts + size] - empty[starts] == empty[-1]]
        found.append(starts)
    size_indices = np.repeat(np.arange(len(sizes)), [len(starts) for starts in found])
    starts = np.concatenate(found)
    ends = starts + np.array(sizes)[size_indices]
    most = max(1, _MOST_CELLS // total)
    if len(starts) > most:  # a sketch of the order: how many of the weakest layers a span helps
        keep = np.sort(np.argsort(weak[starts] - weak[ends], kind="stable")[:most])
        starts, ends, size_indices = starts[keep], ends[keep], size_indices[keep]
    return _Spans(sizes, starts, ends, size_indices)


def _flags(layers: Collection[int], total: int) -> NDArray[np.bool_]:
    """[layers] True for those."""
    flags = np.zeros(total, dtype=np.bool_)
    flags[[layer for layer in layers if layer < total]] = True
    return flags


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

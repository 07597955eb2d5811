"""Cuts the layers of a call where a sequence enters or leaves: between two cuts the same ones run. Pure.

A route may enter a span in the middle, and leave it there. Sequences that share a layer then share the
reading of its weights, whatever their other layers are. The native engine cuts alike (src/model/forward.cpp).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from p2pinfer.types import Span


@dataclass(frozen=True, slots=True)
class Stretch:
    """Neighbouring layers, and the sequences that pass all of them, by their places in the call."""

    layers: Span
    passing: tuple[int, ...]


def stretches(layers: Sequence[Span]) -> Iterator[Stretch]:
    """Yield the stretches of sequences with these layers, in the order of the layers. None is empty."""
    cuts = sorted({cut for span in layers for cut in (span.start, span.end)})
    for start, end in pairwise(cuts):
        passing = tuple(index for index, span in enumerate(layers) if start in span)
        if passing:
            yield Stretch(Span(start, end), passing)

"""What a page keeps of a sample: how many servers there are, and cells under labels that tell no place.

A cell's name is its place, so it never leaves this module. Its label is a hash with a key that only this
process has, and has for one day: nobody can name the place, find the cell on another page, or tomorrow.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from p2pinfer.health.snapshot.plain import clean_count
from p2pinfer.health.snapshot.state import CellView, Population
from p2pinfer.swarm.cells.estimate import Size
from p2pinfer.swarm.discovery.sampling import Sample
from p2pinfer.types import PeerId

KEY_SECONDS = 86_400.0
LABEL_BYTES = 3
_MOST = 10**12


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSize:
    """What a sample says of a model beside its servers."""

    listed: frozenset[PeerId] | None  # that may be named: they were found among all; None: everybody may
    size: Size
    cells: tuple[CellView, ...]


class CellLabels:
    """Of one page."""

    def __init__(
        self,
        now: Callable[[], float] = time.time,
        new_key: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        """`now` is in Unix seconds."""
        self._now, self._new_key = now, new_key
        self._drawn_at, self._key = now(), new_key(32)

    def without_places(self, model: str, sample: Sample) -> SampleSize:
        """The sample's numbers, with labels for its cells."""
        cells = [_cell_view(self._label(model, cell), size) for cell, size in sample.cells.items()]
        return SampleSize(
            listed=None if sample.size.is_counted else sample.from_everywhere,
            size=sample.size,
            cells=tuple(sorted(cells, key=lambda view: (-view.about, view.label))),
        )

    def _label(self, model: str, cell: str) -> str:
        now = self._now()
        if not 0.0 <= now - self._drawn_at < KEY_SECONDS:
            self._drawn_at, self._key = now, self._new_key(32)
        name = f"{model}/{cell}".encode()
        return hashlib.blake2b(name, key=self._key, digest_size=LABEL_BYTES).hexdigest()


def population_of(sample: SampleSize | None, present: int) -> Population:
    """How many servers a model has, of which `present` were read and are there."""
    if sample is None or sample.size.is_counted:
        cells = () if sample is None else sample.cells
        return Population(
            about=present, least=present, most=present, is_sample=False, sampled=present, cells=cells
        )
    return Population(
        about=clean_count(sample.size.about, _MOST),
        least=clean_count(sample.size.least, _MOST),
        most=None if sample.size.most is None else clean_count(sample.size.most, _MOST),
        is_sample=True,
        sampled=present,
        cells=sample.cells,
    )


def _cell_view(label: str, size: Size) -> CellView:
    return CellView(label=label, about=size.about, least=size.least, most=size.most)

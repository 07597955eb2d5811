"""Rotary cosines and sines by position, computed once in blocks and then looked up.

Vectorised cosines may round differently at the end of an array than in its middle. With whole blocks of
positions, a position's bits don't depend on the rest of the batch. A lookup is also four times cheaper than
the module.
"""

from __future__ import annotations

import torch

from p2pinfer.model.families import Family

BLOCK_POSITIONS = 512

CosSin = tuple[torch.Tensor, torch.Tensor]


class RotaryTable:
    """Cosines and sines of all positions so far, per layer type where the family needs it."""

    def __init__(self, family: Family, rotary: torch.nn.Module, layer_types: tuple[str, ...]) -> None:
        self._rotary = rotary
        self._arguments: dict[str, tuple[str, ...]] = (
            {kind: (kind,) for kind in layer_types} if family.rotary_per_layer_type else {"": ()}
        )
        self._tables: dict[str, CosSin] = {}
        self._positions = 0

    def at(self, positions: torch.Tensor, layer_type: str) -> CosSin:
        """Cosines and sines [1, tokens, rotary_dim] for positions [tokens]."""
        cos, sin = self._tables[layer_type if layer_type in self._arguments else ""]
        return cos[positions][None], sin[positions][None]

    def extend(self, end: int) -> None:
        """Compute the positions below `end` that are missing."""
        while self._positions < end:
            block = torch.arange(self._positions, self._positions + BLOCK_POSITIONS)[None]
            for kind, arguments in self._arguments.items():
                cos, sin = self._rotary(torch.empty(0), block, *arguments)
                old_cos, old_sin = self._tables.get(kind, (cos[0, :0], sin[0, :0]))
                self._tables[kind] = torch.cat([old_cos, cos[0]]), torch.cat([old_sin, sin[0]])
            self._positions += BLOCK_POSITIONS

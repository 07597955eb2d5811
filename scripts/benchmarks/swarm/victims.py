"""Which servers are killed (pure)."""

from __future__ import annotations

import random
from collections.abc import Mapping

from p2pinfer.types import Span


def half_that_hurts(
    layers: Mapping[int, Span], num_layers: int, spared: int, chance: random.Random
) -> list[int]:
    """Half of all servers: first all that hold the layer that fewest hold, then others at random.

    `layers` has the span of each. The `spared` one stays, and a layer that it holds isn't chosen.
    """
    holders = [
        [index for index, span in layers.items() if layer in span]
        for layer in range(num_layers)
        if layer not in layers[spared]
    ]
    doomed = min(holders, key=len, default=[])
    others = sorted(set(layers) - set(doomed) - {spared})
    half = len(layers) // 2
    return [*doomed, *chance.sample(others, max(0, half - len(doomed)))][:half]

"""The parts of a layer: parameter names, shapes, and which of them are linear weights.

They come from `transformers`' own layer class, which is built without memory on the meta device.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from p2pinfer.model.families import FAMILIES

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Blueprint:
    """Parameters of one layer, or of the ends: linear weights become INT8 rows, others stay float32."""

    shapes: Mapping[str, Shape]
    linear_weights: frozenset[str]

    @property
    def stored_bytes(self) -> int:
        """Bytes in a store, without the file's header."""
        return sum(
            math.prod(shape) + 4 * shape[0] if name in self.linear_weights else 4 * math.prod(shape)
            for name, shape in self.shapes.items()
        )


def blueprint(config: PreTrainedConfig, layer: int) -> Blueprint:
    """Describe one layer of a model."""
    import torch

    with torch.device("meta"):
        module = FAMILIES[config.model_type].build_layer(config, layer)
    linear = {
        f"{name}.weight" for name, child in module.named_modules() if isinstance(child, torch.nn.Linear)
    }
    shapes = {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}
    return Blueprint(shapes, frozenset(linear))

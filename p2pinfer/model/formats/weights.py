"""Where a conversion takes its weights from. `hf_folder` and `gguf` read files into this form."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class WeightSource(Protocol):
    """An unquantized (or differently quantized) model, read piece by piece.

    Tensors are named as in a store: `layers.7.self_attn.q_proj.weight`, `embed_tokens.weight`,
    `norm.weight`, `lm_head.weight`.
    """

    @property
    def name(self) -> str:
        """What people call the model."""

    @property
    def config(self) -> dict[str, Any]:
        """The fields of its config.json, as they come."""

    @property
    def generation_config(self) -> dict[str, Any]:
        """The fields of its generation_config.json, or those that take its place."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all decoder tensors."""

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """Rows [start, stop) of a tensor, as float32. Reads no others."""

    def write_tokenizer(self, folder: Path) -> list[str]:
        """Write the tokenizer's files and return their names."""

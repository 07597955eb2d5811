"""The weights that a conversion reads. `hf_folder` and `gguf.file` implement it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from p2pinfer.model.layer_store.origin import Origin


class WeightSource(Protocol):
    """A model that is not quantized, or quantized differently, read piece by piece.

    Tensors have the same names as in a store: `layers.7.self_attn.q_proj.weight`, `embed_tokens.weight`,
    `norm.weight`, `lm_head.weight`.
    """

    @property
    def name(self) -> str:
        """The name to show."""

    @property
    def config(self) -> dict[str, Any]:
        """The fields of its config.json, unchanged."""

    @property
    def generation_config(self) -> dict[str, Any]:
        """The fields of its generation_config.json, or their replacement."""

    @property
    def remarks(self) -> list[str]:
        """What the owner of the model should know about it, a line each."""

    @property
    def origin(self) -> Origin:
        """Where it comes from."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all decoder tensors."""

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """Rows [start, stop) of a tensor, as float32. Reads only these."""

    def write_tokenizer(self, folder: Path) -> list[str]:
        """Write the tokenizer's files and return their names. An embedding model's pooling is one of them."""

"""A model's two ends, which the client computes: token ids to activations, and activations to logits.

Numpy in, numpy out. The decoder layers' files stay closed. Embeddings and head are INT8 rows with
float32 scales; everything else is float32.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from p2pinfer.errors import StoreError, UsageError
from p2pinfer.model.engine.base import Hidden
from p2pinfer.model.families import EndsRecipe, ends_recipe
from p2pinfer.model.int8_matrix import Int8Matrix, int8_matrix
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.model.layer_store.tensors import let_pages_go
from p2pinfer.model.quantization import Int8Rows, RowScales, dequantize_rows

Logits = NDArray[np.float32]

_ROWS_AT_ONCE = 64
"""Embeddings that are read before the file's pages are given back. Linux maps 64 KiB around each, so that a
small model's whole file would soon count as memory of the client."""


class ClientEnds:
    """Embeddings, final norm and head of one model. Make one with `load`; threads may share it."""

    def __init__(
        self,
        recipe: EndsRecipe,
        embeddings: tuple[Int8Rows, RowScales],
        head: Int8Matrix,
        norm_weight: NDArray[np.float32],
        norm_bias: NDArray[np.float32] | None,
    ) -> None:
        self._recipe = recipe
        self._rows, self._scales = embeddings
        self._rows_read = 0  # since the pages were given back
        self._head = head
        self._norm_weight = norm_weight + np.float32(1) if recipe.norm == "rms_plus_one" else norm_weight
        self._norm_bias = norm_bias

    @classmethod
    def load(cls, store: LayerStore) -> ClientEnds:
        """Read the ends of a store. Raises StoreError if they are missing or altered."""
        recipe = ends_recipe(store.config_fields)
        tensors = store.ends_tensors()
        try:
            embeddings = tensors["embed_tokens.weight"], tensors["embed_tokens.weight_scale"]
            head = (
                embeddings
                if recipe.tied_head
                else (tensors["lm_head.weight"], tensors["lm_head.weight_scale"])
            )
            norm_weight, norm_bias = tensors["norm.weight"], tensors.get("norm.bias")
        except KeyError as error:
            raise StoreError(f"the ends of {store.folder} lack {error.args[0]}: convert again") from error
        matrix = int8_matrix(*head)
        let_pages_go(embeddings[0])  # packing the head has read all of them
        return cls(recipe, embeddings, matrix, norm_weight, norm_bias)

    @property
    def vocab_size(self) -> int:
        """Number of token ids: they run from 0 to vocab_size - 1."""
        return len(self._scales)

    def embed(self, ids: NDArray[np.int64]) -> Hidden:
        """Activations [tokens, hidden_size] for token ids [tokens].

        Raises UsageError for an id that the model doesn't have.
        """
        if ids.size:
            self._check_range(int(ids.min()), int(ids.max()))
        hidden = dequantize_rows(self._taken(ids), self._scales[ids])
        if self._recipe.embedding_scale != 1.0:
            hidden *= np.float32(self._recipe.embedding_scale)
        return hidden

    def _taken(self, ids: NDArray[np.int64]) -> Int8Rows:
        """Embeddings as they are stored, [tokens, hidden_size]."""
        taken = np.empty((len(ids), self._rows.shape[1]), self._rows.dtype)
        for start in range(0, len(ids), _ROWS_AT_ONCE):
            some = ids[start : start + _ROWS_AT_ONCE]
            taken[start : start + len(some)] = self._rows[some]
            self._rows_read += len(some)
            if self._rows_read >= _ROWS_AT_ONCE:
                self._rows_read = 0
                let_pages_go(self._rows)
        return taken

    def check(self, ids: Sequence[int]) -> None:
        """Raise UsageError if there is an id that the model doesn't have. Needs at least one id."""
        self._check_range(min(ids), max(ids))

    def _check_range(self, lowest: int, highest: int) -> None:
        if not (lowest >= 0 and highest < self.vocab_size):
            raise UsageError(f"token ids run from 0 to {self.vocab_size - 1}; use the model's own tokenizer")

    def logits(self, hidden: Hidden) -> Logits:
        """Scores [tokens, vocab_size] for the last layer's activations [tokens, hidden_size]."""
        scores = self._head.multiply(self.normed(hidden))
        if self._recipe.logits_divisor != 1.0:
            scores /= np.float32(self._recipe.logits_divisor)
        if self._recipe.logits_softcap is not None:
            cap = np.float32(self._recipe.logits_softcap)
            scores = np.tanh(scores / cap) * cap
        return scores

    def normed(self, hidden: Hidden) -> Hidden:
        """The last layer's activations [tokens, hidden_size] after the final norm: what embeddings are of."""
        hidden = np.asarray(hidden, np.float32)
        if self._recipe.norm == "layer":
            hidden = hidden - hidden.mean(axis=-1, keepdims=True)
        variance = np.square(hidden).mean(axis=-1, keepdims=True)
        normed: Hidden = hidden / np.sqrt(variance + np.float32(self._recipe.norm_eps)) * self._norm_weight
        return normed if self._norm_bias is None else normed + self._norm_bias

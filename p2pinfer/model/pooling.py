"""How an embedding model makes one vector of a text's tokens, and the vector itself. Pure numpy.

The ways are those of Sentence Transformers' modules Pooling and Normalize.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from p2pinfer.errors import StoreError, UsageError
from p2pinfer.model.engine.base import Hidden
from p2pinfer.model.layer_store.names import POOLING_FILE
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.model.layer_store.tensors import read_verified
from p2pinfer.outside.plain_json import read_json

Mode = Literal["first", "last", "mean"]

_LEAST_LENGTH = np.float32(1e-12)
"""A shorter vector is divided by this, as torch's normalize does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooling:
    """What a model's own files say of its embeddings."""

    mode: Mode
    """The vector of the first token, of the last one, or the mean of all."""

    is_normalized: bool
    """Vectors have the length 1."""

    def to_json(self) -> dict[str, Any]:
        """The fields of pooling.json."""
        return {"mode": self.mode, "normalize": self.is_normalized}

    @classmethod
    def from_json(cls, fields: Any) -> Pooling:
        """Read the fields of pooling.json, which may come from a stranger. Raises StoreError."""
        if not isinstance(fields, Mapping) or fields.keys() != {"mode", "normalize"}:
            raise StoreError(f"{POOLING_FILE} must have the fields mode and normalize, and no others")
        mode, normalize = fields["mode"], fields["normalize"]
        if mode not in get_args(Mode) or not isinstance(normalize, bool):
            raise StoreError(f"{POOLING_FILE} has values that this p2pinfer doesn't know")
        return cls(mode=mode, is_normalized=normalize)


def pooling_of(store: LayerStore) -> Pooling | None:
    """How a store's model pools; None if it is no embedding model. Raises StoreError if the file is altered.

    A store that was converted before stores had this file has None too: convert the model again.
    """
    entry = store.manifest.files.get(POOLING_FILE)
    if entry is None:
        return None
    data = read_verified(store.folder / POOLING_FILE, entry).tobytes()
    try:
        return Pooling.from_json(read_json(data))
    except ValueError as error:
        raise StoreError(f"{POOLING_FILE} is not JSON: {error}") from error


def pool(hidden: Hidden, pooling: Pooling) -> NDArray[np.float32]:
    """One vector [hidden_size] for the activations of a text's tokens [tokens, hidden_size].

    The activations have passed the final norm: see `ClientEnds.normed`. All tokens count, special ones too.
    The same activations give the same bytes. Raises UsageError if there is no token.
    """
    if hidden.ndim != 2 or not len(hidden):
        raise UsageError("an embedding needs at least one token")
    hidden = np.asarray(hidden, np.float32)
    if pooling.mode == "mean":
        vector: NDArray[np.float32] = hidden.mean(axis=0, dtype=np.float64).astype(np.float32)
    else:
        vector = hidden[0 if pooling.mode == "first" else -1].copy()
    if pooling.is_normalized:
        # In float64: squares of large activations don't fit float32.
        length = np.float32(np.sqrt(np.square(vector, dtype=np.float64).sum()))
        vector /= max(length, _LEAST_LENGTH)
    return vector

"""What transformers carries from step to step in place of a cache."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import Cache

from p2pinfer.client.session import InferenceSession
from p2pinfer.errors import UsageError


class RemoteCache(Cache):
    """Stands where transformers expects its cache. The keys and values are with the servers.

    It holds each row's real tokens, without padding, and where the padding is: the session needs nothing
    else. It is of use while its session is open.
    """

    def __init__(self, session: InferenceSession) -> None:
        super().__init__(layers=[])
        self.session = session
        self.rows: list[list[int]] = []
        self.real: NDArray[np.bool_] | None = None
        """[sequences, columns], true for real tokens; None before the first."""

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return how many columns of input were seen so far, padding included."""
        return 0 if self.real is None else self.real.shape[1]

    @property
    def batch_size(self) -> int:
        """How many sequences it has; -1 before the first tokens."""
        return -1 if self.real is None else len(self.rows)

    @property
    def is_compileable(self) -> bool:
        """False: there is nothing to compile."""
        return False

    def reset(self) -> None:
        """Forget all tokens."""
        self.rows, self.real = [], None

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last columns; `tokens_to_remove` is minus their number, as for transformers' caches."""
        if tokens_to_remove > 0:
            raise UsageError(f"crop({tokens_to_remove}): give minus the number of tokens to remove")
        if self.real is None:
            return
        self.real = self.real[:, : max(0, self.real.shape[1] + tokens_to_remove)]
        counts = self.real.sum(axis=1)
        self.rows = [row[:count] for row, count in zip(self.rows, counts, strict=True)]

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Raise UsageError: for beam search, servers would have to copy rows."""
        raise UsageError("beam search is not supported: use num_beams=1 (greedy or sampling)")

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Raise UsageError: a session's number of sequences is fixed."""
        raise UsageError("the servers' caches can't be repeated: give the whole batch from the beginning")

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Raise UsageError: a session's number of sequences is fixed."""
        raise UsageError("the servers' caches can't be selected from: open a session for the other batch")

    def __deepcopy__(self, memo: dict[int, Any]) -> RemoteCache:
        """Return a cache of the same session, which remembers the same tokens by itself."""
        copied = RemoteCache(self.session)
        copied.rows = [list(row) for row in self.rows]
        copied.real = self.real
        return copied

"""What transformers carries from step to step in place of a cache."""

from __future__ import annotations

import torch
from transformers import Cache

from p2pinfer.client.session import InferenceSession
from p2pinfer.errors import UsageError


class RemoteCache(Cache):
    """Stands where transformers expects its cache. The keys and values are with the servers.

    It holds each row's real tokens, without padding: the session needs nothing else.
    """

    def __init__(self, session: InferenceSession) -> None:
        super().__init__(layers=[])
        self.session = session
        self.rows: list[list[int]] = []
        self.columns = 0

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return how many columns of input were seen so far, padding included."""
        return self.columns

    @property
    def is_compileable(self) -> bool:
        """False: there is nothing to compile."""
        return False

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Raise UsageError: for beam search, servers would have to copy rows."""
        raise UsageError("beam search is not supported: use num_beams=1 (greedy or sampling)")

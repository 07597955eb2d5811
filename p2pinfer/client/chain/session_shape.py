"""What a session asks of every hop."""

from __future__ import annotations

from dataclasses import dataclass

from p2pinfer.client.route.aim import Aim
from p2pinfer.wire import inference_pb2 as pb


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionShape:
    """The terms that are the same for all hops of a session. `max_tokens` is per row."""

    model: str
    hidden_size: int
    rows: int
    max_tokens: int
    wire_dtype: pb.WireDtype = pb.FLOAT32
    is_patient: bool = False
    """Nobody waits for its texts: they stand back at the servers."""

    aim: Aim = Aim.LATENCY
    """For what its servers are chosen; they aren't told."""

    @property
    def cache_tokens(self) -> int:
        """What the session takes of the cache in every layer, without the rounding to pages."""
        return self.rows * self.max_tokens

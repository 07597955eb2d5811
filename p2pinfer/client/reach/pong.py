"""What a ping has found."""

from __future__ import annotations

from dataclasses import dataclass

from p2pinfer.types import Address, Way
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.channels import answer_of

_MOST_TOKENS = 2**40
"""As many as a record may announce."""


@dataclass(frozen=True, slots=True)
class Pong:
    """A round trip, and the server's load, as it says itself."""

    seconds: float  # without the time to connect
    queue_depth: int  # waiting steps
    free_cache_tokens: int  # room for new sessions, through all layers of the span
    way: Way | None = None  # that was measured


def pong(address: Address, reply: pb.PingReply | None, seconds: float, way: Way | None = None) -> Pong:
    """Read the answer of the server at `address`. Raises HopFailedError if it is nonsense or another's."""
    reply = answer_of(address.peer_id, reply)
    return Pong(seconds, reply.queue_depth, min(_MOST_TOKENS, reply.free_cache_tokens), way)

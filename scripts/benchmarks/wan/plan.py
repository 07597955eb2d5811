"""What bench_wan measures, on which network, and its goals (pure)."""

from __future__ import annotations

from collections.abc import Collection

PARTS = {
    "stream": "one stream through three peers on home-cable",
    "batch": "32 sequences in flight through the same peers",
    "prefill": "a prompt of 512 tokens on satellite, as float32 and as int8",
}
PROFILE = {"stream": "home-cable", "batch": "home-cable", "prefill": "satellite"}

PEERS = 3
SEQUENCES = 32
SESSIONS = 16
"""The sessions that share the batch, in threads: a session's rows step together, and sessions
overlap stages."""
PREFILL_TOKENS = 512
WIRE_DTYPES = ("float32", "int8")

STREAM_GOAL = 0.9
BATCH_GOAL = 0.8
PREFILL_GOAL = 0.8

LOSS_BASED = ("cubic", "reno")
OTHERWISE = "bbr"


def congestion_controls(own: str, allowed: Collection[str]) -> list[str]:
    """The TCP congestion controls with which prefill is measured: the system's own first.

    One more is measured that takes every loss for a full link, as most systems' default does, and one that
    does not; only controls that a host of the lab may use are chosen.
    """
    one = [name for name in LOSS_BASED if name in allowed][:1]
    other = [OTHERWISE] if OTHERWISE in allowed else []
    if own in LOSS_BASED:
        one = []
    return list(dict.fromkeys([own, *one, *other]))

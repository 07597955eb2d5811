"""How a client becomes a member of a swarm: it reads, and keeps nothing for others."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from p2pinfer.client.network import Join
from p2pinfer.errors import UsageError
from p2pinfer.swarm.swarm import Swarm


def joining(initial_peers: str | Sequence[str], *, seconds: float) -> Join:
    """Join through these peers, and wait for so long for one of them. Raises UsageError if there are none."""
    addresses = (initial_peers,) if isinstance(initial_peers, str) else tuple(initial_peers)
    if not addresses:
        raise UsageError(
            "initial_peers is empty: give the addresses that a server prints after `join this swarm:`"
        )
    return partial(Swarm.join, addresses, client_only=True, startup_timeout_seconds=seconds)

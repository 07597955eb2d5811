"""What bench_join measures, on which network, and its goals (pure)."""

from __future__ import annotations

from p2pinfer.local_swarm.shares import split_layers
from p2pinfer.types import Span

PARTS = {
    "one": "a server joins with a tenth of the model; one seeder",
    "many": "the same with ten seeders, whose uplinks together fill the downlink",
    "same": "ten servers join at once with the same tenth; one seeder",
    "different": "ten servers join at once, each with another tenth; one seeder",
    "client": "a client joins; ten seeders",
}
PROFILE = "home-cable"

JOINERS = 10
SHARES = 10  # a share is the model by this number
SEEDERS = 10  # where there are many

RECEIVED_GOAL = 1.1  # of what is needed, at most
DISK_GOAL = 1.1
LINE_GOAL = 0.8  # of the slower of downlink and the seeders' uplinks, at least
SAME_GOAL = 1.5  # times the time of one, at most
UPLINK_GOAL = 0.9  # of the seeder's, at least


def same_share(num_layers: int) -> Span:
    """A tenth of the model, in whole layers."""
    return Span(0, max(1, round(num_layers / SHARES)))


def different_shares(num_layers: int) -> list[Span]:
    """The shares of joiners that together take the whole model. Raises UsageError for a tiny model."""
    return split_layers(num_layers, JOINERS)


def needs_one(parts: frozenset[str]) -> bool:
    """Whether one joiner with one seeder has to be measured: `same` is judged by it."""
    return bool(parts & {"one", "same"})

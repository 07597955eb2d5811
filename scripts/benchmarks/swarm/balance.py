"""What the clients of bench_swarm got, and how evenly the servers shared the work (pure)."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Client = Mapping[str, Any]
"""What one client did in a round, as crowd.py says it."""


def tokens_per_second(rounds: Iterable[Sequence[Client]], seconds: float) -> float:
    """Of all clients together, in the round in the middle."""
    tokens: list[int] = [sum(client["tokens"] for client in clients) for clients in rounds]
    return statistics.median(tokens) / seconds


def computed(rounds: Iterable[Sequence[Client]], peers: Iterable[str]) -> dict[str, int]:
    """How many tokens times layers each of these servers has computed in all rounds."""
    total: Counter[str] = Counter()
    for clients in rounds:
        for client in clients:
            total.update(client["computed"])
    return {peer: total[peer] for peer in peers}


def imbalance(work: Mapping[str, int]) -> float:
    """The work of the busiest server, in that of an average one."""
    return max(work.values()) / statistics.mean(work.values())


def errors(rounds: Iterable[Sequence[Client]]) -> list[str]:
    """Of all texts that failed."""
    return [error for clients in rounds for client in clients for error in client["errors"]]


def compared(rounds: Iterable[Sequence[Client]], expected: Sequence[Sequence[int]]) -> tuple[int, int]:
    """How many tokens came, and how many of them are those of an undisturbed process."""
    pairs = [
        pair
        for clients in rounds
        for client in clients
        for text in client["texts"]
        for pair in zip(text["tokens"], expected[text["prompt"]], strict=False)
    ]
    return len(pairs), sum(token == right for token, right in pairs)


def replaced(rounds: Iterable[Sequence[Client]]) -> int:
    """How often a server has taken another's place in the middle of a text."""
    return sum(text["replaced"] for clients in rounds for client in clients for text in client["texts"])

"""A client of bench_reach, seen from the benchmark: its process, and the answers that it got."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from p2pinfer.errors import P2PInferError
from p2pinfer.model.layer_store.store import LayerStore
from scripts.benchmarks.shared.host_process import HostProcess

CLIENT = "scripts.benchmarks.reach.client"
_JOIN_SECONDS = 60.0
_TOKEN_SECONDS = 120.0


class NoAnswerError(P2PInferError):
    """The client got no text from the swarm; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The tokens of an answer, and for each its time and the ways of the hops that computed it."""

    tokens: list[int]
    at: list[float]  # time.monotonic()
    ways: list[list[str | None]]
    replaced_hops: int = 0
    replayed_tokens: int = 0

    @property
    def tokens_per_second(self) -> float:
        """The rate after the first token."""
        return (len(self.at) - 1) / (self.at[-1] - self.at[0])

    @property
    def gaps(self) -> list[float]:
        """The seconds between one token and the next."""
        return [later - former for former, later in pairwise(self.at)]


class Visitor:
    """A client's process on a host. A context manager that ends it. `started_at` is time.monotonic()."""

    def __init__(
        self, store: LayerStore, initial_peers: Sequence[str], prefix: Sequence[str], log: Path | None
    ) -> None:
        self.started_at = time.monotonic()
        self._process = HostProcess(
            CLIENT,
            {"store": str(store.folder), "initial_peers": list(initial_peers)},
            prefix=prefix,
            log=log,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.close()

    def join(self) -> float:
        """Wait until it has joined; returns the seconds from its start. Raises ChildError."""
        return float(self._process.hear_next(_JOIN_SECONDS)["at"]) - self.started_at

    def answer(
        self, prompt: Sequence[int], tokens: int, *, meanwhile: Callable[[int], None] | None = None
    ) -> Answer:
        """Have it generate; `meanwhile` gets the number of tokens so far, after each.

        Raises NoAnswerError if it can't, ChildError if it ends or is silent.
        """
        self._process.tell(prompt=list(prompt), tokens=tokens)
        at: list[float] = []
        ways: list[list[str | None]] = []
        while True:
            said: dict[str, Any] = self._process.hear_next(_TOKEN_SECONDS)
            if said["what"] == "failed":
                raise NoAnswerError(f"after {len(at)} tokens: {said['error']}")
            if said["what"] == "done":
                return Answer(
                    tokens=said["tokens"],
                    at=at,
                    ways=ways,
                    replaced_hops=said["replaced"],
                    replayed_tokens=said["replayed"],
                )
            at.append(said["at"])
            ways.append(said["ways"])
            if meanwhile is not None:
                meanwhile(len(at))

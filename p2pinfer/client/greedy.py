"""The least client: token ids in, the likeliest next ones out. Needs neither torch nor transformers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from p2pinfer.client.chain.failover import Patience
from p2pinfer.client.chain.session import HopReport, InferenceSession
from p2pinfer.client.joining import joining
from p2pinfer.client.network import Network
from p2pinfer.folders import user_cache_folder
from p2pinfer.identity import Identity
from p2pinfer.model.ends import ClientEnds
from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.model.source import open_model


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """New tokens, what they took, and who computed them."""

    tokens: list[int]
    first_token_seconds: float  # opening the sessions included
    seconds: float
    route: list[HopReport]

    @property
    def tokens_per_second(self) -> float | None:
        """After the first token; None if there was no other."""
        rest = self.seconds - self.first_token_seconds
        return (len(self.tokens) - 1) / rest if len(self.tokens) > 1 and rest > 0 else None


class GreedyClient:
    """One model in one swarm, for one thread at a time. A context manager that leaves the swarm."""

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        initial_peers: Sequence[str],
        cache_folder: Path | None = None,
        patience: Patience | None = None,
        join_timeout: float = 20.0,
        progress: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Load the model's ends and join. Raises ModelError, UsageError, SwarmUnreachableError."""
        folder = cache_folder or user_cache_folder()
        store = open_model(os.fspath(model), cache_folder=folder, progress=progress)
        self.manifest: Manifest = store.manifest
        self._ends = ClientEnds.load(store)
        self._patience = patience or Patience()
        self._network = Network(
            joining(initial_peers, seconds=join_timeout), store.manifest, Identity.ephemeral()
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the swarm."""
        self._network.close()

    def generate(self, prompt: Sequence[int], count: int) -> Generation:
        """The next `count` tokens, by a route of their own.

        Raises NoRouteError, HopFailedError, RefusedError.
        """
        row, times = list(prompt), []
        began = time.monotonic()
        with InferenceSession(
            self._network,
            self.manifest,
            self._ends,
            max_length=len(row) + count,
            patience=self._patience,
        ) as session:
            for _ in range(count):
                (hidden,) = session.compute([row], [1])
                row.append(int(self._ends.logits(hidden).argmax()))
                times.append(time.monotonic() - began)
            route = session.report()
        return Generation(
            tokens=row[len(prompt) :], first_token_seconds=times[0], seconds=times[-1], route=route
        )

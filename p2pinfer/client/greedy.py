"""The smallest client: token ids in, the most likely next ones out. Needs neither torch nor transformers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from p2pinfer.client.patience import Patience
from p2pinfer.client.remote_model import RemoteModel
from p2pinfer.client.session import HopReport
from p2pinfer.model.layer_store.manifest import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """New tokens, how long they took, and which servers computed them."""

    tokens: list[int]
    first_token_seconds: float  # opening the sessions included
    seconds: float
    route: list[HopReport]

    @property
    def tokens_per_second(self) -> float | None:
        """The rate after the first token; None if there is only one."""
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
        progress: Callable[[str], None] | None = None,
    ) -> None:
        """Load the model's ends and join. Raises ModelError, UsageError, SwarmUnreachableError."""
        self._remote = RemoteModel.open(
            model,
            initial_peers=initial_peers,
            cache_folder=cache_folder,
            patience=patience,
            join_timeout_seconds=join_timeout,
            progress=progress,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def manifest(self) -> Manifest:
        """The model's manifest."""
        return self._remote.manifest

    def close(self) -> None:
        """Leave the swarm."""
        self._remote.close()

    def generate(self, prompt: Sequence[int], count: int) -> Generation:
        """Return the next `count` tokens, computed in a session of their own.

        Raises NoRouteError, HopFailedError, RefusedError.
        """
        row, times = list(prompt), []
        began = time.monotonic()
        with self._remote.session(len(row) + count) as session:
            for _ in range(count):
                (hidden,) = session.compute([row], [1])
                row.append(int(self._remote.ends.logits(hidden).argmax()))
                times.append(time.monotonic() - began)
            route = session.report()
        return Generation(
            tokens=row[len(prompt) :], first_token_seconds=times[0], seconds=times[-1], route=route
        )

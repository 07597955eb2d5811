"""A request for one of several chunks, from when it is made until the chunk is here or the call has ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from p2pinfer.types import PeerId


@dataclass(slots=True, eq=False)
class Ask:
    """One GetChunk call. The peer names one of `numbers` with its first bytes."""

    peer_id: PeerId
    numbers: frozenset[int]
    asked_at: float  # monotonic seconds
    copies: int | None = None  # the chunk that a slow peer is sending, and that is asked of this one too
    replaces: bool = False  # as soon as it comes, the slow call is ended: it brings next to nothing
    chunk: int | None = None  # the one that comes
    named_at: float = 0.0
    received_bytes: int = 0
    is_over: bool = False  # nothing that it may bring is needed any more
    end: Callable[[], None] = field(default=lambda: None)  # ends the call, from outside
    array: NDArray[np.int64] = field(init=False)
    """`numbers`, as numpy wants them: thirty requests are looked at ten times a second for each peer."""

    def __post_init__(self) -> None:
        self.array = np.fromiter(self.numbers, dtype=np.int64, count=len(self.numbers))

    def give_up(self) -> None:
        """Nothing that it may bring is needed any more."""
        if not self.is_over:
            self.is_over = True
            self.end()

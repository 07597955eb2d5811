"""Which sessions get rows of their own in the ledger, and which are only added up. Pure.

Rows are kept for good, keys cost nothing, and a session of one token takes as many bytes as one of a million.
So the fuller a day is, the more work a session must be for rows of its own. Work without them is done, is
countersigned for the client, and counts in the statement as unsigned: its proof isn't kept here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

SECONDS_A_DAY = 86_400.0

FOLDING_SECONDS = 900.0
"""Receipts of a session within such a time are one row, and small work one sum: midnight, with which days and
months begin, is a multiple of it in every time zone."""

LEAST_FREE_BYTES = 2**28
"""Below it the ledger takes no new rows: a full disk would stop the server, and the machine around it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """Sessions of a day: a session of so many tokens gets rows while there are no more than so many."""

    least_tokens: int
    most: int
    most_of_client: int


TIERS = (
    Tier(least_tokens=1, most=20_000, most_of_client=5_000),
    Tier(least_tokens=16, most=100_000, most_of_client=50_000),
    Tier(least_tokens=128, most=1_000_000, most_of_client=800_000),
)
"""A session takes about 0.9 KB: 18 MB a day for one-token sessions, 0.9 GB for a thousand million tokens that
were computed and signed. A gateway that opens 512 sessions a minute has 737,280 a day."""


@dataclass(slots=True)
class Day:
    """The sessions with rows of their own of one day (UTC), so far."""

    number: int  # since 1970
    by_client: Counter[bytes] = field(default_factory=Counter)
    total: int = 0

    def add(self, client: bytes, sessions: int = 1) -> None:
        """Count sessions of a client."""
        self.by_client[client] += sessions
        self.total += sessions

    def has_room(self, client: bytes, tokens: int, *, free_bytes: int) -> bool:
        """True if a new session of this client with this much work gets rows of its own."""
        return free_bytes >= LEAST_FREE_BYTES and any(
            tokens >= tier.least_tokens
            and self.total < tier.most
            and self.by_client[client] < tier.most_of_client
            for tier in TIERS
        )


def day_number(at: float) -> int:
    """The day (UTC, since 1970) of Unix seconds `at`."""
    return int(at // SECONDS_A_DAY)


def folding_start(at: float) -> int:
    """The beginning of the quarter of an hour that contains Unix seconds `at`."""
    return int(at // FOLDING_SECONDS * FOLDING_SECONDS)

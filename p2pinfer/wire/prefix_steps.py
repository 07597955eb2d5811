"""What KEEP, RECALL and FEED steps say: which tokens of a row hops keep, and which hops compute the rest.

`steps.py` has their bytes. Here is what has to be true of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from p2pinfer.errors import ProtocolError

NAME_BYTES = 32
"""The length of the name that a prefix is kept under."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """The first `tokens` tokens of a row: to be kept under a name, or to be what was kept under it."""

    row: int
    tokens: int
    name: bytes
    is_shared: bool = False
    """True if any client may recall it by its name; else only the client that kept it."""


@dataclass(frozen=True, slots=True)
class Feed:
    """The tokens from `start` to `end` of a row. The hops before `hop` have them; it computes them."""

    row: int
    start: int
    end: int
    hop: int
    """Its place in the chain, from 0; at least 1, because the client feeds the first hop itself."""

    is_patient: bool = False
    """Nobody waits for it: what it brings to `hop` stands back there."""

    @property
    def tokens(self) -> int:
        """How many tokens it brings to `hop`."""
        return self.end - self.start


def check_kept(prefix: Prefix, lengths: Sequence[int]) -> None:
    """Check what a KEEP step wants kept, in rows of these cached `lengths`. Raises ProtocolError."""
    _check_row(prefix.row, len(lengths))
    if not 1 <= prefix.tokens <= lengths[prefix.row]:
        raise ProtocolError(
            f"{prefix.tokens} tokens of row {prefix.row} are to be kept, {lengths[prefix.row]} are cached"
        )


def check_recalled(prefix: Prefix, rows: int, max_tokens: int) -> None:
    """Check what a RECALL step wants back, in a session of `rows` rows. Raises ProtocolError."""
    _check_row(prefix.row, rows)
    if not 1 <= prefix.tokens <= max_tokens:
        raise ProtocolError(
            f"row {prefix.row} would get {prefix.tokens} tokens, the session was opened for {max_tokens}"
        )


def check_fed(feed: Feed, lengths: Sequence[int], *, hops_passed: int, max_step_tokens: int) -> None:
    """Check a FEED step at the hop that it reaches after `hops_passed` others. Raises ProtocolError."""
    _check_row(feed.row, len(lengths))
    if feed.hop <= hops_passed:
        raise ProtocolError(f"a FEED step for hop {feed.hop} has come past hop {hops_passed - 1}")
    if not 1 <= feed.tokens <= max_step_tokens:
        raise ProtocolError(f"a FEED step of {feed.tokens} tokens: 1 to {max_step_tokens} are accepted")
    if feed.end > lengths[feed.row]:
        raise ProtocolError(
            f"tokens up to {feed.end} of row {feed.row} are to be passed on, {lengths[feed.row]} are cached"
        )


def _check_row(row: int, rows: int) -> None:
    if row >= rows:
        raise ProtocolError(f"row {row} is not one of {rows} rows")

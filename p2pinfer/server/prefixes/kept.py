"""One prefix that is kept, and what it is found by."""

from __future__ import annotations

from dataclasses import dataclass

from p2pinfer.model.engine.base import Hidden, SequenceCache
from p2pinfer.types import Span

SHARED = b""
"""The scope of prefixes that any client may recall. No client has an empty key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixKey:
    """A session finds a prefix if all of this is the same as in the session that kept it."""

    scope: bytes
    """The public key of the client that kept it, or SHARED."""

    name: bytes
    layers: Span
    wire_dtype: int
    has_outputs: bool
    """True at a hop that another follows: a later session must be able to tell that one everything."""


@dataclass(slots=True, eq=False, kw_only=True)
class KeptPrefix:
    """The first tokens of a row, as they were computed. It belongs to the store that made it."""

    key: PrefixKey
    client: bytes
    """Who kept it."""

    tokens: int
    cache: SequenceCache
    layer_tokens: int
    """What it takes of the server's cache, in the units of leases."""

    used_at: float
    outputs: Hidden | None = None
    """What the hop sent on of it, [tokens, hidden_size]; None where no hop follows."""

    users: int = 0
    """Copies from it or to it that are under way: its memory stays until they are done."""

    is_wanted: bool = True
    """False once its memory is to be given back."""

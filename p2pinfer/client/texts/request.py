"""What a text is asked for with, and what comes of it. Plain data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from p2pinfer.client.batching.row_job import RouteEvent
from p2pinfer.model.sampling.constraint import Constraint
from p2pinfer.model.sampling.options import SamplingOptions
from p2pinfer.model.sampling.sampled import Alternative, SampledToken, TextPart
from p2pinfer.types import PeerId, Span, Way

__all__ = [
    "Alternative",
    "Constraint",
    "RouteEvent",
    "RouteHop",
    "RouteView",
    "SampledToken",
    "TextEnd",
    "TextPart",
    "TextRequest",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRequest:
    """One answer to one prompt."""

    prompt: Sequence[int]
    """Token ids, at least one, special tokens included."""

    max_tokens: int | None = None
    """The answer ends after so many tokens; None: where the model's context ends."""

    sampling: SamplingOptions = field(default_factory=SamplingOptions)

    stop: tuple[str, ...] = ()
    """Texts that end the answer; they aren't part of it."""

    stop_tokens: frozenset[int] | None = None
    """Tokens that end the answer; they aren't shown. None: the model's own."""

    show_special: bool = False
    """Show special tokens in the text: a tool call may be written with them."""

    constraint: Callable[[], Constraint] | None = None
    """Makes the constraint when the answer begins."""

    is_background: bool = False
    """Begins only when no other request waits, and stands aside for those that come: for documents.

    `TextModel.background_room` says how many are wanted."""

    cache_scope: str = ""
    """The answer begins with what requests of the same scope have had computed, with nothing of others."""

    cache_salt: str | None = None
    """In place of a scope: shared with every client that gives the same salt, at the servers too."""

    shared_prefix_tokens: int = 0
    """So many leading tokens other requests have too. Servers may have kept them for an earlier process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextEnd:
    """How an answer ended, and what it took."""

    reason: Literal["stop", "length"]
    stop: str | None
    """The text of `TextRequest.stop` that ended it; None: an end token, or the length."""

    prompt_tokens: int
    cached_tokens: int
    """Tokens of the prompt that the servers had computed for an earlier request."""

    completion_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteHop:
    """One hop of the route that a text uses now."""

    peer_id: PeerId
    layers: Span
    ms_per_token: float | None
    """Its queue and its computing, lately; None before the first step."""

    way: Way | None = None
    """How its steps come: from the client to the first hop, else from the hop before, which says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteView:
    """What the route of a text looks like now, and what has happened to it since the text began."""

    hops: tuple[RouteHop, ...]
    events: tuple[RouteEvent, ...]

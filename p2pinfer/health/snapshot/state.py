"""What the page shows, the API answers and the terminal prints: one snapshot, plain data.

Everything in it may come from strangers. It holds no address and no coordinates of anybody: a parked car is
a home.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Answer(StrEnum):
    """Whether a model can generate text now."""

    YES = "yes"
    THIN = "thin"  # but if a certain one of its servers leaves, it can't
    NO = "no"


class Activity(StrEnum):
    """What a server does, by its own word."""

    JOINING = "joining"
    SERVING = "serving"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Layers [start, end) that equally many servers serve."""

    start: int
    end: int
    replicas: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerView:
    """One server. All but `since` is its own word."""

    peer_id: str
    short_id: str
    public_name: str  # empty: it has chosen none
    region: str  # empty: it doesn't say
    start: int  # layers [start, end)
    end: int
    state: Activity
    decode_tokens_per_second: float | None  # one stream through its layers; None: it doesn't say
    prefill_tokens_per_second: float | None
    queue_depth: int
    free_cache_tokens: int
    version: str
    numerics: str
    since: float  # Unix seconds: when this page first saw it, without a break
    leaves_at: float | None  # Unix seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeView:
    """What came out when this page last generated some tokens itself."""

    at: float  # Unix seconds, when it ended
    works: bool
    detail: str  # why not; empty if it works
    first_token_seconds: float | None
    tokens_per_second: float | None
    route: tuple[tuple[str, int, int], ...]  # short peer id and layers [start, end), hop by hop


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelView:
    """One model, and those who serve it."""

    model: str  # manifest hash
    name: str
    num_layers: int
    answer: Answer
    missing: tuple[tuple[int, int], ...]  # layers [start, end) that nobody serves
    coverage: tuple[Stretch, ...]  # all layers, in order
    best_route_tokens_per_second: float | None  # of one stream, by what servers say of their speed
    swarm_tokens_per_second: float | None  # of many streams: what the weakest layer lets through
    servers: tuple[ServerView, ...]
    probe: ProbeView | None  # None: this page doesn't probe this model


@dataclass(frozen=True, slots=True, kw_only=True)
class ContributionView:
    """What a server has shown receipts for."""

    peer_id: str
    short_id: str
    public_name: str
    prefill_layer_tokens: int
    decode_layer_tokens: int
    sponsors: int  # how many different clients have signed


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthState:
    """Everything, at one moment."""

    generated_at: float  # Unix seconds; when the swarm was last read
    fresh: bool  # False: the swarm couldn't be read lately, this is what was known
    detail: str  # why it isn't fresh
    version: str  # of this page's software
    join_addresses: tuple[
        str, ...
    ]  # for --initial-peers: those that this page was given, or was told to show
    models: tuple[ModelView, ...]
    contributions: tuple[ContributionView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One point of a model's history."""

    at: float  # Unix seconds
    servers: int  # serving
    weakest_replicas: int  # of the layer that fewest servers serve; 0: it can't generate
    swarm_tokens_per_second: float  # 0 where unknown
    probe_tokens_per_second: float | None

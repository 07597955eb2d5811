"""One snapshot of the swarm as plain data, for the page, the API and the terminal.

Any text or number in it may come from a stranger. It has no addresses of servers and no coordinates: a parked
car is a home.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from p2pinfer.swarm.reach.claimed import ClaimedReach
from p2pinfer.types import Way


class Answer(StrEnum):
    """Whether a model can generate text now."""

    YES = "yes"
    THIN = "thin"  # yes, but it depends on one server
    NO = "no"


class Activity(StrEnum):
    """What a server claims to do."""

    JOINING = "joining"
    SERVING = "serving"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Layers [start, end) with the same number of servers."""

    start: int
    end: int
    replicas: int


LONG_CONTEXT_TOKENS = 4096
BATCH_TEXTS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerView:
    """One server. All fields except `since` and `way` are its own claims."""

    peer_id: str
    short_id: str
    public_name: str  # empty: none
    region: str  # empty: unknown
    start: int  # layers [start, end)
    end: int
    state: Activity
    decode_tokens_per_second: float | None  # one stream through its layers; None: unknown
    prefill_tokens_per_second: float | None
    long_decode_tokens_per_second: float | None  # like decode, after LONG_CONTEXT_TOKENS tokens of text
    batch_decode_tokens_per_second: float | None  # of BATCH_TEXTS streams together, in all
    measured_at: float | None  # Unix seconds: the last step that the decode rates were measured by
    prefill_measured_at: float | None  # likewise for prefill
    queue_depth: int
    free_cache_tokens: int
    version: str
    numerics: str
    offers: ClaimedReach  # how others reach it at best
    relays: tuple[str, ...]  # short peer ids of the relays where it is found
    is_relay: bool  # it passes on what others send each other
    way: Way | None  # on which this page reached it the last time that it asked; None: it doesn't know
    since: float  # Unix seconds: present on this page since then, without a break
    leaves_at: float | None  # Unix seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeView:
    """The result of this page's last attempt to generate some tokens."""

    at: float  # Unix seconds, at its end
    works: bool
    detail: str  # the reason for a failure; empty if it works
    first_token_seconds: float | None
    tokens_per_second: float | None
    route: tuple[tuple[str, int, int], ...]  # short peer id and layers [start, end), hop by hop
    route_ways: tuple[Way | None, ...]  # how each of these was reached: from this page, or the hop before


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelView:
    """One model and its servers."""

    model: str  # manifest hash
    name: str
    num_layers: int
    answer: Answer
    missing: tuple[tuple[int, int], ...]  # layers [start, end) without a server
    coverage: tuple[Stretch, ...]  # all layers, in order
    wanted: tuple[Stretch, ...]  # where another server helps most; here servers that are joining count too
    best_route_tokens_per_second: float | None  # of one stream, from the speeds that servers claim
    swarm_tokens_per_second: float | None  # of many streams together: the limit of the weakest layer
    servers: tuple[ServerView, ...]
    probe: ProbeView | None  # None: this page doesn't probe the model


@dataclass(frozen=True, slots=True, kw_only=True)
class ContributionView:
    """The work that a server has shown receipts for."""

    peer_id: str
    short_id: str
    public_name: str
    prefill_layer_tokens: int
    decode_layer_tokens: int
    sponsors: int  # number of clients that have signed


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthState:
    """The whole swarm at one moment."""

    generated_at: float  # Unix seconds; when the swarm was last read
    fresh: bool  # False: the swarm can't be read now, and this is an older state
    detail: str  # the reason if it isn't fresh
    version: str  # of this page's software
    join_addresses: tuple[str, ...]  # for --initial-peers
    join_model: str  # what the page's operator names as MODEL in commands to join; empty: nothing
    models: tuple[ModelView, ...]
    contributions: tuple[ContributionView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One point of a model's history."""

    at: float  # Unix seconds
    servers: int  # serving
    weakest_replicas: int  # servers of the weakest layer; 0: the model can't generate
    swarm_tokens_per_second: float  # 0 where unknown
    probe_tokens_per_second: float | None

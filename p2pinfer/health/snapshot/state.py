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
    route: tuple[tuple[str, int, int], ...]
    """Short peer id and layers [start, end), hop by hop. Of a large swarm the ids are empty."""
    route_ways: tuple[Way | None, ...]  # how each of these was reached: from this page, or the hop before


@dataclass(frozen=True, slots=True, kw_only=True)
class CellView:
    """A part of a large swarm whose servers are found together. The label says nothing of where that is."""

    label: str  # another one each day
    about: int  # servers announced there; exact if `least` and `most` are the same
    least: int
    most: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """How many servers a model has. Of a large swarm the page reads a sample, and estimates the number."""

    about: int  # servers that are there; of a large swarm those announced
    least: int  # with `most` a range that has the true number in 95 of 100 cases
    most: int | None  # None: not known, since members hide servers from others
    is_sample: bool  # True: coverage, rates, `answer` and `servers` of the model are those of a sample
    sampled: int  # servers that coverage and rates count
    cells: tuple[CellView, ...]  # that were read, the largest first: a larger one contains smaller ones


NOBODY = Population(about=0, least=0, most=0, is_sample=False, sampled=0, cells=())


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
    servers: tuple[ServerView, ...]  # of a large swarm, a part of the sample: nobody tells who is near whom
    probe: ProbeView | None  # None: this page doesn't probe the model
    population: Population = NOBODY


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
    servers: int  # serving; of a large swarm about how many are announced
    weakest_replicas: int  # servers of the weakest layer; 0: the model can't generate
    swarm_tokens_per_second: float  # 0 where unknown
    probe_tokens_per_second: float | None

"""Servers and contributors as rows of tables: text to read, numbers to sort by. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from p2pinfer.health.snapshot import words
from p2pinfer.health.snapshot.state import Activity, ContributionView, ServerView

_SORTED_STATES = {Activity.SERVING: 0, Activity.DRAINING: 1, Activity.JOINING: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRow:
    """One server. `*_order` is a column's sort key; empty keys come last."""

    key: str
    name: str  # empty: the server has no public name
    short_id: str
    region: str
    layers: str
    layers_order: int
    state: str
    state_order: int
    reached: str
    relay_notes: tuple[str, ...]
    decode: str
    decode_order: str
    long_decode: str  # empty: unknown
    batch_decode: str  # of BATCH_TEXTS texts together; empty: unknown
    measured: words.Moment | None  # of the decode rates; None: lately, or unknown
    prefill: str
    prefill_order: str
    prefill_measured: words.Moment | None  # likewise
    queue: str
    queue_order: str
    cache: str
    cache_order: str
    version: str
    numerics: str
    since: words.Moment | None
    leaves: words.Moment | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContributorRow:
    """One line of the leaderboard."""

    rank: int
    key: str
    name: str
    short_id: str
    decode: str
    decode_order: str
    prefill: str
    prefill_order: str
    sponsors: str
    sponsors_order: str


def server_row(server: ServerView, now: float) -> ServerRow:
    """The row of a server. Its rates are per layer, so that servers with few and many layers compare."""
    long_decode = words.work_rate(server.long_decode_tokens_per_second, server.start, server.end)
    decode = words.work_rate(server.decode_tokens_per_second, server.start, server.end)
    batch_decode = words.work_rate(server.batch_decode_tokens_per_second, server.start, server.end)
    prefill = words.work_rate(server.prefill_tokens_per_second, server.start, server.end)
    return ServerRow(
        key=words.plain(server.peer_id),
        name=words.plain(server.public_name),
        short_id=words.plain(server.short_id, 12),
        region=words.plain(server.region, 24),
        layers=words.layers(server.start, server.end),
        layers_order=max(-1, min(server.start, 10**12)),
        state=words.activity_word(server.state),
        state_order=_SORTED_STATES[server.state],
        reached=words.reached(server),
        relay_notes=tuple(words.relay_notes(server)),
        decode=words.work(decode),
        decode_order=words.number_to_sort_by(decode),
        long_decode="" if long_decode is None else words.work(long_decode),
        batch_decode="" if batch_decode is None else words.work(batch_decode),
        measured=words.moment(words.stale_since(server.measured_at, now)),
        prefill=words.work(prefill),
        prefill_order=words.number_to_sort_by(prefill),
        prefill_measured=words.moment(words.stale_since(server.prefill_measured_at, now)),
        queue=words.count(server.queue_depth),
        queue_order=words.number_to_sort_by(server.queue_depth),
        cache=words.count(server.free_cache_tokens),
        cache_order=words.number_to_sort_by(server.free_cache_tokens),
        version=words.plain(server.version, 16),
        numerics=words.plain(server.numerics, 24),
        since=words.moment(server.since),
        leaves=words.moment(server.leaves_at),
    )


def contributor_row(rank: int, view: ContributionView) -> ContributorRow:
    """The leaderboard's row at `rank`, 1 for the first."""
    return ContributorRow(
        rank=rank,
        key=words.plain(view.peer_id),
        name=words.plain(view.public_name),
        short_id=words.plain(view.short_id, 12),
        decode=words.count(view.decode_layer_tokens),
        decode_order=words.number_to_sort_by(view.decode_layer_tokens),
        prefill=words.count(view.prefill_layer_tokens),
        prefill_order=words.number_to_sort_by(view.prefill_layer_tokens),
        sponsors=words.several(view.sponsors, "client"),
        sponsors_order=words.number_to_sort_by(view.sponsors),
    )

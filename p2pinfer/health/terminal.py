"""The report for a terminal: `python -m p2pinfer.health --once`.

Names of strangers can't control the terminal. The only control sequences are colours, and only on request.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from p2pinfer.command_line.tables import Column, display_width, table
from p2pinfer.health.snapshot import sentences, words
from p2pinfer.health.snapshot.durations import ago_in_words, duration_in_words, time_in_words
from p2pinfer.health.snapshot.plain import clean_count, clean_text
from p2pinfer.health.snapshot.state import (
    BATCH_TEXTS,
    Activity,
    Answer,
    ContributionView,
    HealthState,
    ModelView,
    ProbeView,
    ServerView,
)
from p2pinfer.health.snapshot.wanted import wanted_layers
from p2pinfer.plain_text import short_count

LEAST_WIDTH = 40
MOST_WIDTH = 250
MOST_SERVERS = 100
"""Servers of one model; --json has all of them."""

MOST_CONTRIBUTIONS = 10

_INDENT = "  "
_UNITS = (
    "Servers' own claims. Decode and prefill: layer-tokens a second, which is tokens a second times layers. "
    "Free cache: tokens."
)
_MOST_COUNT = 10**15 - 1
_BADGES = {Answer.YES: "YES", Answer.THIN: "THIN", Answer.NO: "NO"}
_COLORS = {Answer.YES: "32", Answer.THIN: "33", Answer.NO: "31"}  # SGR: green, yellow, red
_REPLICA_COLORS = ("31", "33", "32")  # none, one, more


def as_text(state: HealthState, *, width: int = 100, color: bool = False) -> str:
    """Lines of at most `width` terminal columns (at least 40), each with its end of line."""
    width = max(LEAST_WIDTH, min(width, MOST_WIDTH))
    lines = list(_head(state, width))
    for model in state.models:
        lines += ["", *_model(model, state, width, color)]
    if not state.models:
        lines += ["", "No model is served."]
    if state.contributions:
        lines += ["", *_board(state.contributions, width)]
    return "\n".join([*lines, ""])


def _head(state: HealthState, width: int) -> Iterator[str]:
    yield from _wrapped(f"The swarm as of {time_in_words(state.generated_at)}", width)
    if not state.fresh:
        reason = clean_text(state.detail, 300) or "no reason is known"
        yield from _wrapped(f"This is old: the swarm can't be read now ({reason}).", width)


def _model(model: ModelView, state: HealthState, width: int, color: bool) -> Iterator[str]:
    badge, now = _BADGES[model.answer], state.generated_at
    if sentences.is_in_doubt(model):
        badge = "SAMPLE"
    first, *rest = _wrapped(f"{badge}  {sentences.headline(model, is_fresh=state.fresh)}", width)
    yield _painted(badge, _COLORS[model.answer], color) + _painted(first.removeprefix(badge), "1", color)
    yield from rest
    inner = width - len(_INDENT)
    for line in _facts(model, now, inner, is_fresh=state.fresh):
        yield _INDENT + line
    picture = _picture(model, inner)
    if picture:
        yield ""
        yield from _drawn(picture, model, inner, color)
    if model.servers:
        yield ""
        for line in _servers(model.servers[:MOST_SERVERS], now, inner):
            yield _INDENT + line
        for line in _wrapped(_UNITS, inner):
            yield _INDENT + line
        if len(model.servers) > MOST_SERVERS:
            yield f"{_INDENT}and {len(model.servers) - MOST_SERVERS:,} more: --json has all of them"


def _facts(model: ModelView, now: float, width: int, *, is_fresh: bool) -> Iterator[str]:
    yield from _wrapped(sentences.explanation(model, is_fresh=is_fresh), width)
    if is_fresh and (wanted := wanted_layers(model)):
        yield from _wrapped(f"Help here: {wanted}", width)
    if note := sentences.sample_note(model, is_fresh=is_fresh):
        yield from _wrapped(note, width)
    serving = sum(server.state is Activity.SERVING for server in model.servers)
    layers = words.several(max(0, model.num_layers), "layer")
    here = " in the list" if model.population.is_sample else ""
    served = f"{words.several(serving, 'server')} serving{here}"
    yield from _wrapped(f"{layers}, {served}; manifest {clean_text(model.model, 12)}", width)
    best = words.rate(model.best_route_tokens_per_second)
    together = words.rate(model.swarm_tokens_per_second)
    if (best, together) != (words.NOTHING, words.NOTHING):
        whose = "Servers of the sample" if model.population.is_sample else "Servers"
        yield from _wrapped(
            f"{whose} claim {best} tokens/s for one text, {together} for many together", width
        )
    if model.probe:
        yield from _wrapped(_probe(model.probe, now), width)


def _probe(probe: ProbeView, now: float) -> str:
    when = f"Tried {ago_in_words(now - probe.at)}"
    if not probe.works:
        return f"{when}: it failed ({clean_text(probe.detail, 200) or 'no reason is known'})"
    hops = ", ".join(
        f"{peer or 'a server'} {words.layer_ranges([(start, end)])}{f' ({way})' if way else ''}"
        for peer, start, end, way in words.hops_of(probe, 32)
    )
    return (
        f"{when}: it works, first token after {words.seconds(probe.first_token_seconds)}, "
        f"then {words.rate(probe.tokens_per_second)} tokens/s, by {hops or 'an unknown route'}"
    )


def _picture(model: ModelView, width: int) -> list[int]:
    """For every character of the picture, the servers of the weakest layer that it stands for."""
    num_layers = model.num_layers
    if num_layers < 1:
        return []
    signs = width // num_layers * num_layers or width  # if there is room, the same number for each layer
    weakest: list[int | None] = [None] * signs
    for stretch in model.coverage:
        start, end = max(0, stretch.start), min(num_layers, stretch.end)
        if start >= end:
            continue
        for sign in range(start * signs // num_layers, -(-end * signs // num_layers)):
            known = weakest[sign]
            weakest[sign] = stretch.replicas if known is None else min(known, stretch.replicas)
    return [replicas or 0 for replicas in weakest]


def _drawn(picture: Sequence[int], model: ModelView, width: int, color: bool) -> Iterator[str]:
    runs = groupby(picture, key=lambda replicas: clean_count(replicas, 2))
    yield _INDENT + "".join(
        _painted("".join(map(_sign, run)), _REPLICA_COLORS[enough], color) for enough, run in runs
    )
    first, last = "0", _count(model.num_layers - 1)
    if len(first) + len(last) < len(picture):
        yield _INDENT + first + last.rjust(len(picture) - len(first))
    legend = "Layers from left to right, with the number of their servers: 1 to 9, + for more, . for none."
    if model.num_layers > len(picture):
        legend += " A character stands for several layers, and shows the weakest of them."
    for line in _wrapped(legend, width):
        yield _INDENT + line


def _sign(replicas: int) -> str:
    if replicas <= 0:
        return "."
    return str(replicas) if replicas <= 9 else "+"


def _servers(servers: Sequence[ServerView], now: float, width: int) -> list[str]:
    def leaves(server: ServerView) -> str:
        if server.leaves_at is None:
            return ""
        if server.leaves_at <= now:
            return "now"
        left = duration_in_words(server.leaves_at - now)
        return f"in {left}" if left != "-" else ""

    def measured(measured_at: float | None) -> str:
        at = words.stale_since(measured_at, now)
        return "" if at is None else ago_in_words(now - at)

    def column(title: str, cells: Iterable[str], *, rank: int, most: int = 12, right: bool = True) -> Column:
        return Column(title=title, cells=list(cells), align_right=right, rank=rank, most=most)

    columns = [
        column("name", (clean_text(one.public_name) or "-" for one in servers), rank=0, most=24, right=False),
        column("peer", (clean_text(one.short_id, 12) for one in servers), rank=0, right=False),
        column("layers", (_layers(one) for one in servers), rank=0, most=13),
        column("state", (one.state.value for one in servers), rank=0, right=False),
        column("reached", map(words.reached, servers), rank=5, right=False),
        column("decode", (_work(one, one.decode_tokens_per_second) for one in servers), rank=1),
        column("long texts", (_work(one, one.long_decode_tokens_per_second) for one in servers), rank=6),
        column("measured", (measured(one.measured_at) for one in servers), rank=2),
        column(
            f"{BATCH_TEXTS} texts",
            (
                _work(one, one.batch_decode_tokens_per_second) if one.batch_decode_tokens_per_second else ""
                for one in servers
            ),
            rank=6,
        ),
        column("prefill", (_work(one, one.prefill_tokens_per_second) for one in servers), rank=4),
        column("measured", (measured(one.prefill_measured_at) for one in servers), rank=4),
        column("queue", (_count(one.queue_depth) for one in servers), rank=3),
        column("free cache", (_count(one.free_cache_tokens) for one in servers), rank=5),
        column("leaves", map(leaves, servers), rank=2),
        column("region", (clean_text(one.region, 32) for one in servers), rank=8, right=False),
        column("version", (clean_text(one.version, 32) for one in servers), rank=7, right=False),
        column("class", (clean_text(one.numerics) for one in servers), rank=6, most=16, right=False),
    ]
    return table([column for column in columns if any(column.cells)], width)


def _board(contributions: Sequence[ContributionView], width: int) -> Iterator[str]:
    first = contributions[:MOST_CONTRIBUTIONS]
    yield "Work that clients have signed for"
    columns = [
        Column(title="", cells=[str(place) for place in range(1, len(first) + 1)], align_right=True),
        Column(title="name", cells=[clean_text(one.public_name) or "-" for one in first], most=32),
        Column(title="peer", cells=[clean_text(one.short_id, 12) for one in first], most=12),
        Column(
            title="layer-tokens of prompts",
            cells=[_count(one.prefill_layer_tokens) for one in first],
            align_right=True,
            rank=2,
        ),
        Column(
            title="of answers",
            cells=[_count(one.decode_layer_tokens) for one in first],
            align_right=True,
            rank=1,
        ),
        Column(title="clients", cells=[_count(one.sponsors) for one in first], align_right=True, rank=3),
    ]
    for line in table(columns, width - len(_INDENT)):
        yield _INDENT + line


def _work(server: ServerView, tokens_per_second: float | None) -> str:
    return words.work(words.work_rate(tokens_per_second, server.start, server.end))


def _layers(server: ServerView) -> str:
    if not 0 <= server.start < server.end <= 10**6:
        return "?"
    return str(server.start) if server.end - server.start == 1 else f"{server.start}-{server.end - 1}"


def _count(number: int) -> str:
    return short_count(clean_count(number, _MOST_COUNT))


def _wrapped(text: str, width: int) -> Iterator[str]:
    """Wrap by terminal columns. textwrap counts letters, so a text with wide letters gets half the width."""
    room = width if display_width(text) == len(text) else max(1, width // 2)
    return iter(textwrap.wrap(text, room) or [""])


def _painted(text: str, code: str, color: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if color else text

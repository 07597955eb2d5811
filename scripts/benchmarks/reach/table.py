"""Prints the results of bench_reach (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from scripts.benchmarks.reach.figures import Line, goals, in_words, move_gap, stall, times
from scripts.benchmarks.shared.report import goal_lines
from scripts.lab import PROFILES


def table(measured: Mapping[str, Any]) -> str:
    """One line for each pair of homes, what was found beside it, and the goals."""
    machine = measured["machine"]
    found = list(goals(measured))
    return "\n".join(
        [
            f"{measured['model']} in three shares, {machine['cores']} cores ({machine['processor']}); "
            f"medians of {measured['repetitions']} rounds of {measured['num_tokens']} tokens",
            f"{measured['profile']}: {PROFILES[measured['profile']].describe()}",
            "",
            *(_table(measured) if measured["table"] else []),
            *(_move(measured["move"]) if "move" in measured else []),
            *(_kills(measured["relay-killed"]) if "relay-killed" in measured else []),
            "",
            *goal_lines(found, width=max((len(goal.what) for goal in found), default=0)),
        ]
    )


def _table(measured: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"{'servers':13} {'client':12} {'text':5} {'way of each hop':26} {'first':>7} {'final':>7} "
        f"{'tokens/s':>8} {'of open':>7}"
    )
    for found in measured["table"]:
        line = Line.of(found)
        head = f"{line.pair.server:13} {line.pair.client:12}"
        if line.error is not None:
            yield f"{head} no    {line.error.splitlines()[0][:90]}"
            continue
        yield (
            f"{head} {'yes' if line.is_identical else 'OTHER':5} {in_words(line.ways):26} "
            f"{_seconds(line.first_token_seconds)} {_seconds(line.final_way_seconds)} "
            f"{line.tokens_per_second:8.1f} {line.share:7.2f}"
        )
    yield "first: seconds from the start of the client's process to its first token"
    yield "final: until no hop is reached through a relay"


def _seconds(value: float | None) -> str:
    return f"{'-':>7}" if value is None else f"{value:5.1f} s"


def _move(move: Mapping[str, Any]) -> Iterator[str]:
    if "error" in move:
        yield f"move: no answer: {move['error'].splitlines()[0]}"
        return
    gap = move_gap(move)
    yield (
        f"move: first {in_words(move['ways'][0])}, then {in_words(move['ways'][-1])}; "
        f"{len(move['tokens'])} tokens, longest gap of all {_longest(move):.2f} s, "
        + ("never moved" if gap is None else f"while it moved {gap:.2f} s")
    )


def _longest(answer: Mapping[str, Any]) -> float:
    return max(later - former for former, later in pairwise(times(answer)))


def _kills(kills: Mapping[str, Any]) -> Iterator[str]:
    if "error" in kills:
        yield f"relay killed: no answer: {kills['error'].splitlines()[0]}"
        return
    stalls = ", ".join(f"{stall(each):.2f}" for each in kills["rounds"])
    replaced = sum(each["replaced_hops"] for each in kills["rounds"])
    yield f"relay killed: longest stall of each answer {stalls} s; {replaced} hops replaced"

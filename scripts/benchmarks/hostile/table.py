"""Prints the results of bench_hostile (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from scripts.benchmarks.hostile.figures import Growth, Line, all_goals
from scripts.benchmarks.hostile.plan import ATTACKS

_SHOWN_REASONS = 5


def table(measured: Mapping[str, Any]) -> str:
    """A line for each round, what everybody heard, and the goals that were missed."""
    machine = measured["machine"]
    lines = [Line.of(found) for found in measured["rounds"]]
    return "\n".join(
        [
            f"{measured['model']}, {machine['cores']} cores ({machine['processor']}): three servers with one "
            f"thread each, a health page, an honest client; attacks of {measured['seconds']:g} s or more",
            "",
            *_figures(lines),
            "",
            *_words(lines),
            "",
            *_verdict(measured),
        ]
    )


HEADING = (
    f"{'attack':20} {'addr':>4} {'tokens/s':>13} {'share':>5} {'pause':>6} {'new':>6} "
    f"{'memory, MB':>11} {'page, MB':>9} {'disk':>6} {'log':>6} {'page':>5} {'CPU':>5}"
)


def figures_line(line: Line) -> str:
    """The figures of one round, under the heading."""
    first = "none" if line.first_token_seconds is None else f"{line.first_token_seconds:.1f}"
    return (
        f"{line.attack:20} {line.addresses:4} {line.rate_before:5.1f} {line.rate_during:7.1f} "
        f"{line.share:5.2f} {line.longest_pause:6.2f} {first:>6} {_growth(line.servers):>11} "
        f"{_growth(line.page):>9} {line.data_megabytes:6.1f} {line.log_megabytes_a_minute:6.2f} "
        f"{line.page_share:5.2f} {line.attacker.get('cpu_seconds', 0):5.1f}"
    )


def _figures(lines: list[Line]) -> Iterator[str]:
    yield HEADING
    yield from map(figures_line, lines)
    yield ""
    yield "tokens/s of the honest client before and during; pause: its longest, s"
    yield "new: seconds from the start of a new client's join to its first token"
    yield "memory, page: more than before, at most/in the end; disk: data folders, MB; log: MB a minute"
    yield "page: share of its answers; CPU: seconds that the attacker spent"


def _growth(growth: Growth) -> str:
    return f"{growth.peak:.0f}/{growth.left:.0f}"


def _words(lines: list[Line]) -> Iterator[str]:
    yield "what the attackers did (> heard) and what honest clients heard (<)"
    for line in lines:
        attacker = line.attacker
        did = ", ".join(f"{count:,} {what}" for what, count in attacker.get("counts", {}).items())
        yield f"  {line.attack} ({line.addresses}): {ATTACKS[line.attack].what}"
        yield f"    {did or 'nothing'}"
        if attacker.get("refusals"):
            yield f"    > {_most(attacker['refusals'])}"
        if line.honest_refusals:
            yield f"    < {_most(line.honest_refusals)}"
        if attacker.get("error"):
            yield f"    ! the attacker failed: {attacker['error'].strip().splitlines()[-1]}"
        for loss in line.losses:
            yield f"    ! {loss}"


def _most(reasons: Mapping[str, int]) -> str:
    ordered = sorted(reasons.items(), key=lambda one: -one[1])
    said = ", ".join(f"{count:,} {reason}" for reason, count in ordered[:_SHOWN_REASONS])
    rest = sum(count for _, count in ordered[_SHOWN_REASONS:])
    return f"{said}, {rest:,} others" if rest else said


def _verdict(measured: Mapping[str, Any]) -> Iterator[str]:
    found = all_goals(measured["rounds"])
    missed = [(line, goal) for line, goal in found if not goal.is_met]
    for line, goal in missed:
        yield (
            f"MISSED  {line.attack:20} {line.addresses:4}  {goal.what:34} wanted {goal.wanted:>8}, "
            f"found {goal.found}"
        )
    yield from (f"FAILED  {failure.splitlines()[0]}" for failure in measured["failures"])
    yield f"{len(found) - len(missed)} of {len(found)} goals are met"

"""Prints the results of bench_join as a table (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from scripts.benchmarks.join.figures import Figure, figures
from scripts.benchmarks.join.plan import PROFILE
from scripts.benchmarks.shared.hosts import slowed
from scripts.benchmarks.shared.report import verdict
from scripts.lab import PROFILES


def table(measured: Mapping[str, Any]) -> str:
    """One line for each figure, with its goal; below the line is what explains it."""
    machine, link = measured["machine"], slowed(PROFILES[PROFILE], measured["slower"])
    return "\n".join(
        [
            f"{measured['model']}, {machine['cores']} cores ({machine['processor']}): medians of "
            f"{measured['repetitions']} rounds, ten at once in one round; a share is "
            f"{measured['share_layers']} of {measured['num_layers']} layers, "
            f"{measured['share_bytes'] / 1e6:.1f} MB",
            f"{PROFILE}{_slower(measured['slower'])}: {link.describe()}",
            "",
            f"{'':56} {'median':>7} {'(least, most)':>14}  goal",
            *(line for figure in figures(measured) for line in _lines(figure)),
        ]
    )


def _slower(times: int) -> str:
    return f", rates divided by {times}" if times > 1 else ""


def _lines(figure: Figure) -> Iterator[str]:
    sign = "<=" if figure.at_most else ">="
    goal = "" if figure.goal is None else f"{sign} {figure.goal:g}: {verdict(bool(figure.met))}"
    yield f"{figure.what:56} {figure.found.median:7.3f} {figure.found.range(2):>14}  {goal}".rstrip()
    for line in figure.notes:
        yield f"    {line}"

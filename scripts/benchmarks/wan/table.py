"""Prints the results of bench_wan as a table (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from scripts.benchmarks.shared.report import verdict
from scripts.benchmarks.wan.figures import Bounded, figures
from scripts.benchmarks.wan.plan import PROFILE
from scripts.lab import PROFILES


def table(measured: Mapping[str, Any]) -> str:
    """One line for each figure, with its bound beside it; below the line is how the bound was computed."""
    machine, congestion = measured["machine"], measured["congestion"]
    networks = "; ".join(f"{name}: {PROFILES[name].describe()}" for name in dict.fromkeys(PROFILE.values()))
    return "\n".join(
        [
            f"{measured['model']}, {machine['cores']} cores ({machine['processor']}): medians of "
            f"{measured['repetitions']} rounds; {measured['num_tokens']} tokens a stream",
            networks,
            f"TCP congestion control: {congestion['own']} (allowed: {', '.join(congestion['allowed'])})",
            "",
            f"{'':46} {'median':>8} {'(least, most)':>18} {'bound':>8}          {'of it':>6}  goal",
            *(line for figure in figures(measured) for line in _lines(figure)),
        ]
    )


def _lines(figure: Bounded) -> Iterator[str]:
    digits = 2 if figure.unit == "s" else 1
    goal = "" if figure.goal is None else f">= {figure.goal:g}: {verdict(bool(figure.met))}"
    yield (
        f"{figure.what:46} {figure.found.median:8.{digits}f} {figure.found.range(digits):>18} "
        f"{figure.bound:8.{digits}f} {figure.unit:8} {figure.share.median:6.2f}  {goal}"
    ).rstrip()
    for line in (f"bound: {figure.how}", *figure.notes):
        yield f"    {line}"

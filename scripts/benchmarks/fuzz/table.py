"""What was found, as a table and as goals. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.benchmarks.fuzz.plan import Plan
from scripts.benchmarks.shared.report import Goal

LEAST_INPUTS = 2_000_000


def rows(plan: Plan) -> Iterator[str]:
    """A heading, and a line for each reader."""
    yield (
        f"{'reader':16} {'inputs':>10} {'read as valid':>13} {'inputs/s':>9} {'slowest ms':>10} "
        f"{'crashes':>7} {'unexpected':>10}"
    )
    for name, tally in sorted(plan.tallies.items()):
        if tally.inputs:
            yield (
                f"{name:16} {tally.inputs:10,} {tally.read / tally.inputs:13.1%} "
                f"{tally.inputs / max(tally.seconds, 1e-9):9,.0f} {1000 * tally.slowest_seconds:10.1f} "
                f"{len(plan.crashes[name]):7} {len(tally.defects):10}"
            )


def goals(plan: Plan) -> list[Goal]:
    """What was promised."""
    crashes = sum(map(len, plan.crashes.values()))
    kinds = sum(len(tally.defects) for tally in plan.tallies.values())
    return [
        Goal(
            what="inputs",
            wanted=f"{LEAST_INPUTS:,}",
            found=f"{plan.inputs:,}",
            is_met=plan.inputs >= LEAST_INPUTS,
        ),
        Goal(what="crashes and hangs", wanted="0", found=str(crashes), is_met=not crashes),
        Goal(what="unexpected errors", wanted="0", found=str(kinds), is_met=not kinds),
    ]

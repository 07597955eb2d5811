"""The command line of scripts/simulate: schedules in, a summary and the seeds of failures out."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence

from tests.simulator.runs.run import Outcome, run_schedule
from tests.simulator.schedules.schedule import schedule_of


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the flags say; return 1 if something was wrong."""
    parser = argparse.ArgumentParser(prog="scripts/simulate", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this one schedule")
    parser.add_argument("--schedules", type=int, default=1000, metavar="COUNT", help="how many (1000)")
    parser.add_argument(
        "--from", type=int, default=0, dest="first", metavar="SEED", help="the first seed (0)"
    )
    parser.add_argument("--trace", action="store_true", help="print everything that happens; with --seed")
    arguments = parser.parse_args(argv)
    if arguments.seed is not None:
        return _one(arguments.seed, trace=arguments.trace)
    return _many(range(arguments.first, arguments.first + arguments.schedules))


def _one(seed: int, *, trace: bool) -> int:
    schedule = schedule_of(seed)
    print(schedule)
    outcome = run_schedule(schedule)
    if trace:
        for at, who, what in outcome.trace:
            print(f"{at:9.4f}  {who:8}  {what}")
    print(
        f"seed {seed}: {'; '.join(outcome.wrong) or 'all well'} after {outcome.seconds:.1f} virtual seconds"
    )
    return 1 if outcome.wrong else 0


def _many(seeds: Sequence[int]) -> int:
    began = time.perf_counter()
    failed: list[int] = []
    faults: Counter[str] = Counter()
    stalls: dict[str, list[float]] = {}
    tokens = replayed = replaced = gave_up = 0
    for seed in seeds:
        outcome = run_schedule(schedule_of(seed))
        faults.update(event.kind for event in outcome.happened)
        tokens += sum(diary.tokens for diary in outcome.diaries)
        replayed += sum(diary.replayed_tokens for diary in outcome.diaries)
        replaced += sum(diary.replaced_hops for diary in outcome.diaries)
        gave_up += sum(diary.error is not None for diary in outcome.diaries)
        for kind, seconds in _stalls(outcome):
            stalls.setdefault(kind, []).append(seconds)
        if outcome.wrong:
            failed.append(seed)
            print(f"seed {seed}: {'; '.join(outcome.wrong)}", flush=True)
    seconds = time.perf_counter() - began
    print(f"{len(seeds)} schedules in {seconds:.1f} s ({len(seeds) / seconds:.0f}/s), {len(failed)} failed")
    print(f"{tokens} tokens, {replaced} hops replaced, {replayed} tokens replayed, {gave_up} gave up rightly")
    print("fault      times  alone  median stall  longest stall (alone in their schedules, virtual seconds)")
    for kind, times in sorted(faults.items()):
        alone = sorted(stalls.get(kind, []))
        figures = f"{alone[len(alone) // 2]:12.2f}  {alone[-1]:13.2f}" if alone else ""
        print(f"{kind:9}  {times:5}  {len(alone):5}  {figures}")
    for seed in failed:
        print(f"seed {seed} failed: replay with scripts/simulate --seed {seed} --trace")
    return 1 if failed else 0


def _stalls(outcome: Outcome) -> list[tuple[str, float]]:
    """The longest step of a schedule with one fault, if the fault took place before the schedule's end."""
    if len(outcome.happened) != 1:
        return []
    (fault,) = outcome.happened
    hit = [step.seconds - step.impassable_seconds for step in outcome.steps if step.ended > fault.at]
    return [(fault.kind, max(hit))] if hit else []


if __name__ == "__main__":
    sys.exit(main())

"""Measure how a model's servers are found, with real processes on this machine.

Identities are free in this program, and what the attackers would have paid for theirs is counted: the price
where strangers meet, from tries that are made and timed here.

Honest members, each with its p2pd on 127.0.0.1: one bootstrap member, eight servers that announce a model of
30 layers twice (synthetic records: nobody computes), and plain members that keep records. Five parts, each
with a town of its own:

rest     Nobody attacks. Counts what all members send on the loopback, with all headers; other programs that
         use it are counted too, unless this one has a network namespace of its own. Then plain members become
         servers one after another, and a client that asks once a second waits for each.
cells    All members are servers, in four cities, and a cell splits at 12 servers, not at 96. Newcomers
         read as those do who live in one of the cities.
gossip   Members of one cell, of 30 and of 128, without a network and by a clock of their own: what they send,
         and whom each knows, where reads show them the cell and where strangers hide all its keys.
eclipse  Identities are ground that are nearer to the two keys of the model's root than all honest nodes,
         half of them to each. They join, say that they keep every record, hand none out, and know only each
         other. When the honest records of before have expired, newcomers come, each of which knows one
         honest member, drawn by chance. Seconds count from the newcomer's start, with that of its p2pd.
flood    More identities than a key holds records announce servers beside the honest ones, in all cells from
         the root to one that they don't crowd, while an honest server sleeps until its record has expired.
         Then it wakes up, another one is new, and ten clients come. A server is displaced if no honest node
         keeps its record under a key of any of its cells. The strangers' records go straight into the honest
         nodes' handlers; what one identity costs is measured with real ones (key, record, and p2pd until its
         record is stored).

Ends with status 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from p2pinfer.price.proof import USUAL_BITS, USUAL_TRIES
from scripts.benchmarks.discovery.crowd import SPLIT, crowd
from scripts.benchmarks.discovery.eclipse import eclipse
from scripts.benchmarks.discovery.figures import Crowd, Eclipse, Flood, Gossip, Rest
from scripts.benchmarks.discovery.flood import flood
from scripts.benchmarks.discovery.gossip import gossip
from scripts.benchmarks.discovery.rest import rest
from scripts.benchmarks.discovery.town import SPANS, Pace
from scripts.benchmarks.identities.free import free_identities, usual_price_seconds
from scripts.benchmarks.shared.flags import at_least, some_of
from scripts.benchmarks.shared.program import status_of
from scripts.benchmarks.shared.report import goal_lines, machine, write_json

PARTS = ("rest", "cells", "gossip", "eclipse", "flood")
_FULL = Pace(lifetime_seconds=55.0, settle_seconds=60.0, patience_seconds=15.0)
_LEAST_MEMBERS = len(SPANS) + 2  # the bootstrap member, and a plain one that becomes a server
_GOAL_WIDTH = 36


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark, print the tables, and compare them with the goals."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench_discovery",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", type=some_of(PARTS), default=frozenset(PARTS), help=f"of {','.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="fewer members and tries, shorter waits")
    parser.add_argument(
        "--members", type=at_least(_LEAST_MEMBERS), help="honest members (default: 30; quick: 12)"
    )
    parser.add_argument("--hostile", type=at_least(0), help="ground identities (default: 20; quick: 8)")
    parser.add_argument("--newcomers", type=at_least(1), help="and new servers (default: 20; quick: 5)")
    parser.add_argument("--settle", type=at_least(1), help="seconds of the eclipse before newcomers come")
    parser.add_argument("--identities", type=at_least(1), default=775, help="of the flood (default: 775)")
    parser.add_argument("--seed", type=at_least(0), default=1, help="of what is drawn (default: 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep all values")
    args = parser.parse_args(argv)
    return status_of("scripts/bench_discovery", lambda: measured(args))


def measured(args: argparse.Namespace) -> int:
    """Measure the price, then the rest without it."""
    price_seconds = usual_price_seconds()
    tries = f"{USUAL_BITS} bits, {USUAL_TRIES} tries on average"
    print(f"price of an identity: {price_seconds:.1f} CPU s ({tries})")
    with free_identities():
        return asyncio.run(measure(args, price_seconds))


async def measure(args: argparse.Namespace, price_seconds: float) -> int:
    """Run the chosen parts one after another."""
    members = args.members or (12 if args.quick else 30)
    newcomers = args.newcomers or (5 if args.quick else 20)
    pace = pace_of(quick=args.quick, settle=args.settle)
    chances = random.Random(args.seed)
    results: dict[str, Rest | Crowd | Gossip | Eclipse | Flood] = {}
    if "rest" in args.only:
        results["rest"] = await rest(members, newcomers, 10.0 if args.quick else 60.0, pace, chances)
    if "cells" in args.only:
        least = max(members, 2 * SPLIT)
        results["cells"] = await crowd(least, newcomers, 10.0 if args.quick else 60.0, pace, chances)
    if "gossip" in args.only:
        for size in (30,) if args.quick else (30, 128):
            for found in await gossip(size, 60.0 if args.quick else 300.0, 60.0 if args.quick else 720.0):
                results[f"gossip of {size}, {'hidden' if found.is_hidden else 'read'}"] = found
    if "eclipse" in args.only:
        hostile = args.hostile or (8 if args.quick else 20)
        results["eclipse"] = await eclipse(members, hostile, newcomers, pace, price_seconds, chances)
    if "flood" in args.only:
        results["flood"] = await flood(
            members, args.identities, pace.lifetime_seconds * 1.6, pace, price_seconds
        )
    for result in results.values():
        print(*result.lines(), sep="\n")
    goals = [goal for result in results.values() for goal in result.goals()]
    print(*goal_lines(goals, width=_GOAL_WIDTH), sep="\n")
    if args.json:
        values = {name: asdict(result) for name, result in results.items()}
        write_json(args.json, {**machine(), "price_seconds": price_seconds, **values})
    return 0 if all(goal.is_met for goal in goals) else 1


def pace_of(*, quick: bool, settle: int | None) -> Pace:
    """How long everything takes. Honest records have expired when newcomers come, however soon that is."""
    settle_seconds = float(settle or (25 if quick else _FULL.settle_seconds))
    return Pace(
        lifetime_seconds=min(_FULL.lifetime_seconds, max(7.0, settle_seconds - 5.0)),
        settle_seconds=settle_seconds,
        patience_seconds=5.0 if quick else _FULL.patience_seconds,
    )


if __name__ == "__main__":
    sys.exit(main())

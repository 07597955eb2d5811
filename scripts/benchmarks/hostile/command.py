"""Strangers attack a server and a health page while an honest client generates: what is left for it?

For each attack three servers, a health page and an honest client are started anew, all of them real processes
with default settings. The attacker is a process too, niced and paced: what it hurts, it hurts by what others
do for it. It comes from one address, or from several, each in a network of its own (127.1.N.1). While it
attacks, a new client joins and asks for its first token. Prints for each attack the honest client's tokens/s,
its longest pause, how memory, disk and logs grow, and what everybody was told; then the goals that were
missed. Ends with status 1 if one was. Ctrl-C prints what was measured so far. Linux only.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from scripts.benchmarks.hostile.figures import all_goals
from scripts.benchmarks.hostile.plan import ATTACKS, rounds
from scripts.benchmarks.hostile.run import Settings, measure
from scripts.benchmarks.hostile.table import table
from scripts.benchmarks.shared.flags import at_least, some_of
from scripts.benchmarks.shared.program import status_of
from scripts.benchmarks.shared.report import say, write_json

_MOST_ADDRESSES = 200


def parse_flags() -> tuple[Settings, Path] | None:
    """The benchmark's settings, and the path of the JSON file; None if --list was all that was asked for."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench_hostile",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--list", action="store_true", help="name the attacks, and end")
    parser.add_argument(
        "--only",
        type=some_of(ATTACKS),
        default=frozenset(ATTACKS),
        metavar="ATTACK[,ATTACK...]",
        help="(all)",
    )
    parser.add_argument(
        "--addresses",
        type=_counts,
        metavar="N[,N...]",
        help="from how many addresses an attack comes, one after the other (1,16; with --quick 1)",
    )
    parser.add_argument(
        "--seconds",
        type=at_least(4),
        metavar="S",
        help="of an attack, before the new client joins (25; with --quick 8)",
    )
    parser.add_argument("--quick", action="store_true", help="short attacks from one address")
    parser.add_argument("--json", type=Path, default=Path("build/bench_hostile.json"), metavar="FILE")
    parser.add_argument("--logs", type=Path, metavar="FOLDER", help="keep what all processes print there")
    flags = parser.parse_args()
    if flags.list:
        for name, attack in ATTACKS.items():
            print(f"{name:20} {attack.what}")
        return None
    settings = Settings(
        rounds=tuple(rounds(flags.only, flags.addresses or ((1,) if flags.quick else (1, 16)))),
        warm_up_seconds=1.0 if flags.quick else 3.0,
        before_seconds=4.0 if flags.quick else 10.0,
        seconds=flags.seconds or (8.0 if flags.quick else 25.0),
        after_seconds=8.0 if flags.quick else 30.0,
        logs=flags.logs,
    )
    return settings, flags.json


def _counts(text: str) -> tuple[int, ...]:
    parse = at_least(1)
    counts = tuple(map(parse, text.split(",")))
    if max(counts) > _MOST_ADDRESSES:
        raise argparse.ArgumentTypeError(f"at most {_MOST_ADDRESSES} addresses are there to play")
    return counts


def main() -> int:
    """Run the benchmark, print the table, write the JSON file."""
    flags = parse_flags()
    if flags is None:
        return 0
    settings, json_file = flags

    def work() -> int:
        started = time.monotonic()
        measured: dict[str, Any] = {}
        try:
            measure(settings, measured)
        finally:  # whoever stops a long run keeps what it has measured
            if measured.get("rounds"):
                write_json(json_file, measured)
                print(table(measured))
                say(f"\n{time.monotonic() - started:.0f} s; every value is in {json_file}")
        is_met = all(goal.is_met for _, goal in all_goals(measured["rounds"]))
        return 0 if is_met and not measured["failures"] else 1

    return status_of("bench_hostile", work)


if __name__ == "__main__":
    sys.exit(main())

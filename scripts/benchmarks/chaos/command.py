"""Servers are killed, stopped, cut off and drained while sessions generate without pause.

There are three stages with three servers each; with --hostile some of them boast or stall. Every text is
compared with the text of one undisturbed process. Prints the results, the stalls by kind of fault, and the
goals; a JSON file keeps every event. Ends with status 1 if a generation failed, a token differs, or a server
or client did something that no fault explains; with 77 where the network isn't available. A stall that misses
its goal doesn't change the status.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from scripts.benchmarks.chaos.faults import FaultKind
from scripts.benchmarks.chaos.figures import Figures, summary
from scripts.benchmarks.chaos.hostility import Hostility
from scripts.benchmarks.chaos.run import Settings, measure
from scripts.benchmarks.chaos.table import table
from scripts.benchmarks.chaos.work import MAX_TOKENS, MIN_TOKENS
from scripts.benchmarks.shared.flags import at_least
from scripts.benchmarks.shared.hosts import LOOPBACK, NETWORKS
from scripts.benchmarks.shared.program import status_of
from scripts.benchmarks.shared.report import say, write_json

_KINDS = [kind.value for kind in FaultKind]


def parse_flags() -> tuple[Settings, Path]:
    """The benchmark's settings, and the path of the JSON file."""
    parser = argparse.ArgumentParser(prog="scripts/bench_chaos", description=__doc__)
    parser.add_argument("--minutes", type=_positive, default=10.0, metavar="M", help="of faults (10)")
    parser.add_argument(
        "--profile", choices=NETWORKS, default=LOOPBACK, help="of the WAN lab, which needs root (loopback)"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of faults and work (1)")
    parser.add_argument(
        "--every", type=_positive, default=10.0, metavar="SECONDS", help="between two faults (10)"
    )
    parser.add_argument(
        "--only",
        type=_kinds,
        default=frozenset(FaultKind),
        metavar="KIND[,KIND...]",
        help=f"of {', '.join(_KINDS)}, or none (all that the network allows)",
    )
    parser.add_argument(
        "--hostile",
        type=_share,
        default=0.0,
        metavar="SHARE",
        help="of the servers boast or stall, for example 0.3 (0)",
    )
    parser.add_argument("--sessions", type=int, choices=range(1, 33), default=4, metavar="N", help="(4)")
    parser.add_argument(
        "--tokens",
        type=at_least(MIN_TOKENS),
        default=MAX_TOKENS,
        metavar="N",
        help=f"most tokens of a prompt and its answer, at least {MIN_TOKENS} ({MAX_TOKENS})",
    )
    parser.add_argument("--json", type=Path, default=Path("build/bench_chaos.json"), metavar="FILE")
    parser.add_argument("--logs", type=Path, metavar="FOLDER", help="keep what the clients log there")
    flags = parser.parse_args()
    if flags.only == {FaultKind.CUT} and flags.profile == LOOPBACK:
        parser.error("nothing can be cut on loopback: choose another --profile")
    settings = Settings(
        minutes=flags.minutes,
        network=flags.profile,
        seed=flags.seed,
        every_seconds=flags.every,
        kinds=flags.only,
        sessions=flags.sessions,
        max_tokens=flags.tokens,
        logs=flags.logs,
        hostile_share=flags.hostile,
    )
    return settings, flags.json


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 0.6:
        raise argparse.ArgumentTypeError(f"a share from 0 to 0.6 is expected, not {text!r}")
    return share


def _kinds(text: str) -> frozenset[FaultKind]:
    if text == "none":
        return frozenset()
    try:
        return frozenset(FaultKind(name) for name in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}; there are {', '.join(_KINDS)}") from error


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 10_000:
        raise argparse.ArgumentTypeError(f"a number above 0 is expected, not {text!r}")
    return number


def main() -> int:
    """Run the benchmark, print the table, write the JSON file."""
    settings, json_file = parse_flags()

    def work() -> int:
        started = time.monotonic()
        measured = measure(settings)
        figures = Figures(measured)
        write_json(
            json_file,
            measured | {"summary": summary(figures) | {"hostility": Hostility.of(measured).as_json()}},
        )
        print(table(figures))
        say(f"\n{time.monotonic() - started:.0f} s; every event is in {json_file}")
        return 0 if figures.well else 1

    return status_of("bench_chaos", work)


if __name__ == "__main__":
    sys.exit(main())

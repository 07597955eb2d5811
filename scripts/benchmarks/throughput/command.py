"""Compare p2pinfer with llama.cpp, transformers and the machine's memory, in one run and in turns.

Measures single and parallel streams, long prompts, hops, a model that only memory bandwidth limits, and idle
servers. Prints a table with figures and goals; a JSON file keeps every value. Parts for --only:
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from p2pinfer.errors import P2PInferError
from scripts.benchmarks.shared.flags import at_least, some_of
from scripts.benchmarks.shared.report import say, write_json
from scripts.benchmarks.throughput.figures import Figures, goals_as_json
from scripts.benchmarks.throughput.plan import PARTS
from scripts.benchmarks.throughput.stages import Settings, measure
from scripts.benchmarks.throughput.table import table


def parse_flags() -> tuple[Settings, Path]:
    """The benchmark's settings, and the path of the JSON file."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench_throughput",
        description=(__doc__ or "") + "\n".join(f"  {name:8} {what}" for name, what in PARTS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="16 tokens, 2 rounds: to see that it works")
    parser.add_argument("--tokens", type=at_least(2), default=64, metavar="N", help="tokens per stream (64)")
    parser.add_argument("--repetitions", type=at_least(1), default=5, metavar="N", help="rounds (5)")
    parser.add_argument(
        "--only",
        type=some_of(PARTS),
        default=frozenset(PARTS),
        metavar="PART[,PART...]",
        help="see above (all)",
    )
    parser.add_argument("--skip-large", action="store_true", help="leave out the model of 1 GB")
    parser.add_argument("--json", type=Path, default=Path("build/bench_throughput.json"), metavar="FILE")
    flags = parser.parse_args()
    parts = flags.only - ({"large"} if flags.skip_large else set())
    if not parts:
        parser.error("--skip-large leaves nothing of --only large")
    settings = Settings(
        parts=parts,
        num_tokens=16 if flags.quick else flags.tokens,
        repetitions=2 if flags.quick else flags.repetitions,
        idle_seconds=4.0 if flags.quick else 20.0,
    )
    return settings, flags.json


def main() -> int:
    """Run the benchmark, print the table, write the JSON file."""
    settings, json_file = parse_flags()
    started = time.monotonic()
    try:
        measured = measure(settings)
    except P2PInferError as error:
        print(f"bench_throughput: {error}", file=sys.stderr)
        return 1
    write_json(json_file, measured | {"goals": goals_as_json(Figures(measured))})
    print(table(measured))
    say(f"\n{time.monotonic() - started:.0f} s; every value is in {json_file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

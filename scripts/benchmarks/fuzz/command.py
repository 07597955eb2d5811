"""Feed every reader of foreign bytes with spoiled inputs, and print what came of them.

Samples are valid bytes of records, openings, frames, receipts, certificates, tunnels, relays, models,
requests and files. First each of their bytes is flipped, and they are cut at every length; then random edits
come, of bytes, of fields and of JSON. What strangers can sign is signed after it was spoiled. A reader may
raise its own errors, and nothing else, within 2 seconds and 1 GiB of memory. All readers get the same time.

An input that brings out a defect is kept in a file, and the command that repeats it is printed. Ends with
status 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from scripts.benchmarks.fuzz.plan import Plan
from scripts.benchmarks.fuzz.pool import run
from scripts.benchmarks.fuzz.table import LEAST_INPUTS, goals, rows
from scripts.benchmarks.shared.flags import at_least, some_of
from scripts.benchmarks.shared.program import status_of
from scripts.benchmarks.shared.report import goal_lines, say
from tests.fuzz.all_readers import READERS
from tests.fuzz.trying import Culprit


def parse_flags() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench_fuzz",
        description=(__doc__ or "") + "\nreaders: " + ", ".join(READERS),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--reader", type=some_of(READERS), default=frozenset(READERS), metavar="NAME[,NAME...]", help="(all)"
    )
    parser.add_argument(
        "--inputs", type=at_least(1), default=LEAST_INPUTS, metavar="N", help=f"in all ({LEAST_INPUTS:,})"
    )
    parser.add_argument(
        "--seconds", type=at_least(1), default=3600, metavar="S", help="end earlier, after so long (3600)"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the random edits (1)")
    parser.add_argument(
        "--processes", type=at_least(1), default=os.cpu_count() or 1, metavar="N", help="(one per core)"
    )
    parser.add_argument(
        "--keep", type=Path, default=Path("build/fuzz"), metavar="FOLDER", help="for findings"
    )
    parser.add_argument("--repeat", type=Path, metavar="FILE", help="feed one --reader with this input alone")
    flags = parser.parse_args()
    if flags.repeat is not None and len(flags.reader) != 1:
        parser.error("--repeat needs one --reader")
    return flags


def measure(flags: argparse.Namespace) -> int:
    """Run it; returns the status."""
    if flags.repeat is not None:
        return _repeated(flags)
    plan = Plan(sorted(flags.reader), most_inputs=flags.inputs)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        run(
            plan,
            processes=flags.processes,
            seed=flags.seed,
            folder=Path(folder),
            seconds=flags.seconds,
            say=say,
        )
    for line in rows(plan):
        print(line)
    print(f"{plan.inputs:,} inputs in {time.monotonic() - began:.0f} s with {flags.processes} processes\n")
    for name, tally in plan.tallies.items():
        for kind, culprit in tally.defects.items():
            _show(flags.keep, name, kind, culprit)
        for culprit in plan.crashes[name]:
            _show(flags.keep, name, "the process ended or hung", culprit)
    reached = goals(plan)
    for line in goal_lines(reached, width=20):
        print(line)
    return 0 if all(goal.is_met for goal in reached) else 1


def _show(folder: Path, reader: str, what: str, culprit: Culprit) -> None:
    """Keep an input, and say how to repeat it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{reader}-{culprit.number}"
    path.write_bytes(culprit.data)
    print(f"{reader}, input {culprit.number}: {what}")
    print(f"    scripts/bench_fuzz --reader {reader} --repeat {path}")


def _repeated(flags: argparse.Namespace) -> int:
    """Read one input. An error that the reader doesn't announce ends the program with its traceback."""
    (name,) = flags.reader
    reader = READERS[name]()
    try:
        found = reader.read(flags.repeat.read_bytes())
    except reader.errors as error:
        print(f"refused: {type(error).__name__}: {str(error)[:300]}")
    else:
        print(f"read: {str(found)[:300]}")
    return 0


def main() -> int:
    """Returns the exit status."""
    flags = parse_flags()
    return status_of("bench_fuzz", lambda: measure(flags))


if __name__ == "__main__":
    sys.exit(main())

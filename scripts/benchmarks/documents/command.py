"""Documents by the thousand: SmolLM2-135M-Instruct in three server processes, and llama.cpp beside them.

Every document has 200 to 800 tokens behind a common instruction of 300, and 32 tokens are made of it. Prints
figures and goals; a JSON file keeps every value. Ends with status 1 if a goal is missed, and with 77 if none
of the parts can run here: `home-cable` needs root (see scripts/wan_lab). Parts for --only:
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from p2pinfer.folders import user_cache_folder
from p2pinfer.local_swarm.default_model import SMOLLM2, fetch_model_file
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.model.source import open_model
from p2pinfer.model.text.tokenizer import Tokenizer
from scripts.benchmarks.documents.corpus import Corpus
from scripts.benchmarks.documents.goals import goals_of
from scripts.benchmarks.documents.home_cable import measure_home_cable
from scripts.benchmarks.documents.interactive import measure_interactive
from scripts.benchmarks.documents.kills import measure_kills
from scripts.benchmarks.documents.memory import measure_memory
from scripts.benchmarks.documents.plan import FULL, PARTS, QUICK, Sizes, with_documents
from scripts.benchmarks.documents.speed import measure_speed
from scripts.benchmarks.documents.table import table
from scripts.benchmarks.shared.flags import at_least, some_of
from scripts.benchmarks.shared.program import status_of
from scripts.benchmarks.shared.report import machine, say, write_json
from scripts.lab import LabUnavailableError


def parse_flags() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench_documents",
        description=(__doc__ or "") + "\n".join(f"  {name:12} {what}" for name, what in PARTS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="few documents, 1 round: to see that it works")
    parser.add_argument(
        "--only", type=some_of(PARTS), default=frozenset(PARTS), metavar="PART[,PART...]", help="(all)"
    )
    parser.add_argument("--rounds", type=at_least(1), metavar="N", help=f"({FULL.rounds})")
    parser.add_argument(
        "--documents",
        type=at_least(2),
        metavar="N",
        help=f"of a round of `speed` ({FULL.documents}); other parts take no more than that either",
    )
    parser.add_argument("--json", type=Path, default=Path("build/bench_documents.json"), metavar="FILE")
    return parser.parse_args()


def sizes_of(flags: argparse.Namespace) -> Sizes:
    """How much is measured."""
    sizes = QUICK if flags.quick else FULL
    if flags.documents is not None:
        sizes = with_documents(sizes, flags.documents)
    return sizes if flags.rounds is None else replace(sizes, rounds=flags.rounds)


def measure(parts: frozenset[str], sizes: Sizes) -> dict[str, Any]:
    """Every part that was asked for and can run here. Raises P2PInferError."""
    model_file = fetch_model_file(SMOLLM2, user_cache_folder(), progress=say)
    store = open_model(str(model_file), cache_folder=user_cache_folder(), progress=say)
    corpus = Corpus.load(Tokenizer.load(store.folder))
    measured: dict[str, Any] = {
        "model": store.manifest.name,
        "machine": machine(),
        "sizes": asdict(sizes),
        "left_out": [],
    }
    for part, work in _works(model_file, store, corpus, sizes).items():
        if part not in parts:
            continue
        try:
            measured[part] = work()
        except LabUnavailableError as error:
            if parts == {part}:
                raise
            measured["left_out"].append(f"{part} is left out: {error}")
            say(measured["left_out"][-1])
    if (reason := measured.get("speed", {}).get("left_out")) is not None:
        measured["left_out"].append(reason)
    return measured


def _works(
    model_file: Path, store: LayerStore, corpus: Corpus, sizes: Sizes
) -> dict[str, Callable[[], dict[str, Any]]]:
    return {
        "speed": partial(measure_speed, model_file, store, corpus, sizes),
        "home-cable": partial(measure_home_cable, store, corpus, sizes),
        "kills": partial(measure_kills, store, corpus, sizes),
        "memory": partial(measure_memory, store, corpus, sizes),
        "interactive": lambda: asyncio.run(measure_interactive(store, corpus, sizes)),
    }


def main() -> int:
    """Run the benchmark, print the table, write the JSON file."""
    flags = parse_flags()

    def work() -> int:
        started = time.monotonic()
        measured = measure(flags.only, sizes_of(flags))
        goals = goals_of(measured)
        write_json(flags.json, measured | {"goals": [asdict(goal) for goal in goals]})
        print(table(measured))
        say(f"\n{time.monotonic() - started:.0f} s; every value is in {flags.json}")
        return 0 if all(goal.is_met for goal in goals) else 1

    return status_of("bench_documents", work)


if __name__ == "__main__":
    sys.exit(main())

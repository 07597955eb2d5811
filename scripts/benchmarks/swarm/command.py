"""Servers organise themselves, on this machine: SmolLM2-135M-Instruct, ten of its thirty layers each.

Prints figures and goals; a JSON file keeps every value. Ends with status 1 if a goal is missed. Parts for
--only:
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from p2pinfer.folders import user_cache_folder
from p2pinfer.local_swarm.default_model import SMOLLM2, fetch_model_file
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.model.source import open_model
from scripts.benchmarks.shared.flags import at_least, some_of
from scripts.benchmarks.shared.program import status_of
from scripts.benchmarks.shared.report import machine, say, write_json
from scripts.benchmarks.swarm.burst import measure_burst
from scripts.benchmarks.swarm.churn import ChurnPlan, measure_churn
from scripts.benchmarks.swarm.goals import goals_of, table
from scripts.benchmarks.swarm.load import LoadPlan, measure_load

PARTS = {
    "burst": "6, 12 and 40 servers start at once, and 6 beside servers that don't exist",
    "churn": "of 40, ten are killed, ten drain, all come back, half are killed; clients generate",
    "load": "64 clients share twelve servers",
}
PHANTOMS = 10


def parse_flags() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench_swarm",
        description=(__doc__ or "") + "\n".join(f"  {name:8} {what}" for name, what in PARTS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only", type=some_of(PARTS), default=frozenset(PARTS), metavar="PART[,PART...]", help="(all)"
    )
    parser.add_argument("--most", type=at_least(6), default=40, metavar="N", help="servers (40)")
    parser.add_argument("--clients", type=at_least(1), default=3, metavar="N", help="of churn (3)")
    parser.add_argument("--rounds", type=at_least(1), default=3, metavar="N", help="of load (3)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of faults and work (1)")
    parser.add_argument("--json", type=Path, default=Path("build/bench_swarm.json"), metavar="FILE")
    parser.add_argument("--logs", type=Path, metavar="FOLDER", help="keep what the clients log there")
    return parser.parse_args()


def measure(flags: argparse.Namespace, store: LayerStore) -> dict[str, Any]:
    """Every part that was asked for. Raises P2PInferError if one can't run."""
    measured: dict[str, Any] = {
        "model": store.manifest.name,
        "num_layers": store.manifest.num_layers,
        "machine": machine(),
    }
    if "burst" in flags.only:
        measured["bursts"] = [measure_burst(store, 6, phantoms=PHANTOMS)]
        measured["bursts"] += [measure_burst(store, number) for number in sorted({6, 12, flags.most})]
    if "churn" in flags.only:
        plan = ChurnPlan(
            servers=flags.most,
            change=flags.most // 4,
            clients=flags.clients,
            seed=flags.seed,
            logs=flags.logs,
        )
        measured["churn"] = measure_churn(store, plan)
    if "load" in flags.only:
        measured["load"] = measure_load(
            store, LoadPlan(rounds=flags.rounds, seed=flags.seed, logs=flags.logs)
        )
    return measured


def main() -> int:
    """Run the benchmark, print the table, write the JSON file."""
    flags = parse_flags()

    def work() -> int:
        started = time.monotonic()
        store = open_model(
            str(fetch_model_file(SMOLLM2, user_cache_folder(), progress=say)),
            cache_folder=user_cache_folder(),
            progress=say,
        )
        measured = measure(flags, store)
        goals = goals_of(measured)
        write_json(flags.json, measured | {"goals": [asdict(goal) for goal in goals]})
        print(table(measured))
        say(f"\n{time.monotonic() - started:.0f} s; every value is in {flags.json}")
        return 0 if all(goal.is_met for goal in goals) else 1

    return status_of("bench_swarm", work)


if __name__ == "__main__":
    sys.exit(main())

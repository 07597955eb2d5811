"""Compare one greedy stream through transformers, one process, and swarms of three and six real peers.

All contenders run on this machine in one run, in turns; the table has medians. A JSON file keeps every value.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from p2pinfer.errors import P2PInferError
from p2pinfer.folders import user_cache_folder
from p2pinfer.local_swarm.default_model import SMOLLM2, fetch_model_file
from p2pinfer.local_swarm.server_process import ServerProcess
from p2pinfer.local_swarm.shares import split_layers
from p2pinfer.local_swarm.swarm import LocalSwarm
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.model.source import open_model
from scripts.benchmarks.contenders.turns import Contender, Turn, take_turns
from scripts.benchmarks.shared import prompts
from scripts.benchmarks.shared.report import machine, say, verdict, write_json
from scripts.benchmarks.shared.resident_memory import children_megabytes, megabytes

BASELINE = "transformers bf16, one process"
GOAL_RATIOS = {"p2pinfer, three peers": 1.0, "p2pinfer, six peers": 0.8}
# Limits: well below what Petals needs on a machine of two cores.
LIMITS = {"seconds from start to announced": 8.0, "server MB": 800.0, "client MB": 470.0}
TASK = "one stream"


def measure_starts(store: LayerStore, repetitions: int) -> list[float]:
    """Seconds from process start to announcement, for a server of the first third of the layers."""
    span = split_layers(store.manifest.num_layers, 3)[0]
    seconds = []
    for _ in range(repetitions):
        with LocalSwarm() as swarm:
            swarm.start(store.folder, [span])
            seconds.append(swarm.servers[0].seconds_to_ready or 0.0)
    return seconds


def describe_memory(servers: Sequence[ServerProcess], client: Contender) -> dict[str, float]:
    """The memory of the largest server and of the client, after serving."""
    largest = max(servers, key=lambda server: megabytes(server.pid))
    return {
        "server MB": megabytes(largest.pid),
        "server's p2pd MB": children_megabytes(largest.pid),
        "client MB": megabytes(client.process.pid),
        "client's p2pd MB": children_megabytes(client.process.pid),
    }


def measure(store: LayerStore, model_file: Path, *, num_tokens: int, repetitions: int) -> dict[str, Any]:
    """Start every contender, let them take turns, and return all numbers."""
    say("measuring server starts")
    starts = measure_starts(store, min(repetitions, 3))
    request = {"prompts": [prompts.question(store)], "tokens": num_tokens}
    with ExitStack() as stack:
        contenders: dict[str, Contender] = {}
        turns: list[Turn] = []

        def enter(name: str, kind: str, **parameters: Any) -> None:
            say(f"loading: {name}")
            contenders[name] = stack.enter_context(Contender(kind, **parameters))
            turns.append(Turn(task=TASK, contender=name, work="decode", parameters=request))

        folder = str(store.folder)
        enter("transformers fp32, one process", "transformers", model_file=str(model_file), dtype="float32")
        enter(BASELINE, "transformers", model_file=str(model_file), dtype="bfloat16")
        enter("p2pinfer's layers, one process", "engine", store=folder)
        swarms = {}
        for name, num_peers in (("three", 3), ("six", 6)):
            swarms[name] = stack.enter_context(LocalSwarm())
            swarms[name].start(store.folder, split_layers(store.manifest.num_layers, num_peers))
            peers = swarms[name].initial_peers
            enter(f"p2pinfer, {name} peers", "swarm", store=folder, initial_peers=peers)
        runs = take_turns(contenders, turns, repetitions=repetitions, progress=say)[TASK]
        memory = describe_memory(swarms["three"].servers, contenders["p2pinfer, three peers"])
    return {
        "model": store.manifest.name,
        "machine": machine(),
        "num_tokens": num_tokens,
        "repetitions": repetitions,
        "runs": runs,
        "seconds from start to announced": starts,
        "memory": memory,
    }


def summarize(measured: dict[str, Any]) -> list[dict[str, Any]]:
    """Medians and ratios per contender."""
    rows = []
    num_tokens = measured["num_tokens"]
    for name, runs in measured["runs"].items():
        rates = [num_tokens / run["seconds"] for run in runs]
        later = [(num_tokens - 1) / run["later_seconds"] for run in runs]
        rows.append(
            {
                "name": name,
                "tokens/s": statistics.median(rates),
                "least": min(rates),
                "most": max(rates),
                "tokens/s after the first": statistics.median(later),
                "first token seconds": statistics.median(run["first_seconds"] for run in runs),
            }
        )
    baseline = next(row["tokens/s"] for row in rows if row["name"] == BASELINE)
    for row in rows:
        row["ratio"] = row["tokens/s"] / baseline
        row["goal"] = GOAL_RATIOS.get(row["name"])
    return rows


def table(measured: dict[str, Any], rows: Sequence[dict[str, Any]]) -> str:
    """The lines of the table."""
    lines = [
        f"{measured['model']}: one greedy stream of {measured['num_tokens']} tokens, prompt included; "
        f"medians of {measured['repetitions']} runs in turns, {measured['machine']['cores']} cores",
        "",
        f"{'':32} {'tokens/s':>8} {'(least, most)':>16} {'after 1st':>9} {'1st':>9} {'x bf16':>7}  goal",
    ]
    for row in rows:
        spread = f"({row['least']:.1f}, {row['most']:.1f})"
        goal = "" if row["goal"] is None else f">= {row['goal']:.1f} {verdict(row['ratio'] >= row['goal'])}"
        lines.append(
            f"{row['name']:32} {row['tokens/s']:8.1f} {spread:>16} {row['tokens/s after the first']:9.1f} "
            f"{row['first token seconds'] * 1000:6.0f} ms {row['ratio']:7.2f}  {goal}"
        )
    ours = [runs for name, runs in measured["runs"].items() if name.startswith("p2pinfer")]
    texts = {tuple(run["tokens"][0]) for runs in ours for run in runs}
    lines += [
        "",
        f"p2pinfer's runs gave {'one and the same text' if len(texts) == 1 else 'DIFFERENT texts'}",
        "",
    ]
    starts = "seconds from start to announced"
    costs = {starts: statistics.median(measured[starts])}
    for name, value in (costs | measured["memory"]).items():
        goal = "" if name not in LIMITS else f"< {LIMITS[name]:.0f} {verdict(value < LIMITS[name])}"
        lines.append(f"{name:32} {value:8.1f}  {goal}")
    return "\n".join(lines)


def main() -> int:
    """Run the benchmark, print the table, write the JSON file."""
    parser = argparse.ArgumentParser(prog="scripts/bench_generate", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="16 tokens, 2 runs: to see that it works")
    parser.add_argument("--tokens", type=int, default=64, metavar="N", help="tokens per stream (64)")
    parser.add_argument("--repetitions", type=int, default=5, metavar="N", help="runs of each (5)")
    parser.add_argument("--json", type=Path, default=Path("build/bench_generate.json"), metavar="FILE")
    flags = parser.parse_args()
    num_tokens, repetitions = (16, 2) if flags.quick else (flags.tokens, flags.repetitions)
    try:
        model_file = fetch_model_file(SMOLLM2, user_cache_folder(), progress=say)
        store = open_model(str(model_file), cache_folder=user_cache_folder(), progress=say)
        started = time.monotonic()
        measured = measure(store, model_file, num_tokens=num_tokens, repetitions=repetitions)
    except P2PInferError as error:
        print(f"bench_generate: {error}", file=sys.stderr)
        return 1
    rows = summarize(measured)
    write_json(flags.json, measured | {"summary": rows})
    print(table(measured, rows))
    say(f"\n{time.monotonic() - started:.0f} s; every value is in {flags.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

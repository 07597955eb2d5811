"""The gateway against sessions and one process: SmolLM2-135M-Instruct in three server processes.

Prints figures and goals; a JSON file keeps every value. Ends with status 1 if a goal is missed. Parts for
--only:
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from p2pinfer.client.batching.row_pool import PoolLimits
from p2pinfer.client.remote_model import RemoteModel
from p2pinfer.client.texts.text_model import TextModel
from p2pinfer.folders import user_cache_folder
from p2pinfer.local_swarm.default_model import SMOLLM2, fetch_model_file
from p2pinfer.local_swarm.shares import split_layers
from p2pinfer.local_swarm.swarm import LocalSwarm
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.model.source import open_model
from scripts.benchmarks.gateway.chats import Rivals, measure_chats
from scripts.benchmarks.gateway.connections import ask_all
from scripts.benchmarks.gateway.goals import goals_of, table
from scripts.benchmarks.gateway.idle import measure_idle
from scripts.benchmarks.gateway.plan import (
    AFTER_SCHEMAS,
    FULL,
    GATEWAY,
    GREEDY,
    PARTS,
    PLAIN_CLIENT,
    QUICK,
    Sizes,
    questions,
)
from scripts.benchmarks.gateway.process import GatewayProcess
from scripts.benchmarks.gateway.schema import measure_schema
from scripts.benchmarks.gateway.without import Sessions
from scripts.benchmarks.shared.child import LAST_CHARACTERS, ChildError, module_command, module_environment
from scripts.benchmarks.shared.flags import at_least, some_of
from scripts.benchmarks.shared.program import status_of
from scripts.benchmarks.shared.report import machine, say, write_json

_PEERS = 3
_CACHE_TOKENS = 200_000
"""Of each server: for the rows of the gateway, of this process, and of 64 sessions."""

_PLAIN_SECONDS = 120.0
_MEMORY_ROUND = 990  # its questions are asked nowhere else


def parse_flags() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench_gateway",
        description=(__doc__ or "") + "\n".join(f"  {name:8} {what}" for name, what in PARTS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--quick", action="store_true", help="few and short chats, 2 rounds: to see that it works"
    )
    parser.add_argument(
        "--only", type=some_of(PARTS), default=frozenset(PARTS), metavar="PART[,PART...]", help="(all)"
    )
    parser.add_argument("--rounds", type=at_least(1), metavar="N", help=f"({FULL.rounds})")
    parser.add_argument("--chats", type=at_least(1), metavar="N", help=f"streams at once ({FULL.chats})")
    parser.add_argument("--tokens", type=at_least(2), metavar="N", help=f"of a stream ({FULL.tokens})")
    parser.add_argument("--json", type=Path, default=Path("build/bench_gateway.json"), metavar="FILE")
    return parser.parse_args()


def sizes_of(flags: argparse.Namespace) -> Sizes:
    """How much is measured."""
    sizes = QUICK if flags.quick else FULL
    given = {
        name: getattr(flags, name)
        for name in ("rounds", "chats", "tokens")
        if getattr(flags, name) is not None
    }
    return replace(sizes, **given)


async def measure(parts: frozenset[str], sizes: Sizes, store: LayerStore) -> dict[str, Any]:
    """Every part that was asked for. Raises P2PInferError if one can't run."""
    measured: dict[str, Any] = {"model": store.manifest.name, "machine": machine(), "sizes": asdict(sizes)}
    with LocalSwarm() as swarm:
        say("starting the servers")
        swarm.start(
            store.folder,
            split_layers(store.manifest.num_layers, _PEERS),
            server_arguments=("--max-cache-tokens", str(_CACHE_TOKENS)),
        )
        remote = RemoteModel.open(str(store.folder), initial_peers=swarm.initial_peers)
        async with TextModel(remote, PoolLimits()) as model:
            with GatewayProcess(store.folder, swarm.initial_peers) as gateway:
                tokenizer = model.tokenizer
                rivals = Rivals(gateway, model, Sessions(remote, tokenizer.decode, tokenizer.end_tokens))
                if "chats" in parts:
                    measured["chats"] = await measure_chats(rivals, sizes)
                if "memory" in parts:
                    if "chats" not in parts:
                        asked = questions(_MEMORY_ROUND, sizes.chats)
                        await ask_all(gateway.port, rivals.bodies(asked, sizes.tokens, GREEDY))
                    measured["memory"] = {
                        GATEWAY: gateway.peaks() | {"heavy": gateway.heavy_libraries()},
                        PLAIN_CLIENT: await asyncio.to_thread(_plain_client, store, swarm, sizes.tokens),
                    }
                if "schema" in parts:
                    measured["schema"] = await measure_schema(
                        gateway, model.name, tokenizer.end_tokens, sizes
                    )
                    if "memory" in parts:
                        used = gateway.peaks() | {"heavy": gateway.heavy_libraries()}
                        measured["memory"][AFTER_SCHEMAS] = used
                if "idle" in parts:
                    measured["idle"] = await measure_idle(gateway, model.name, sizes)
    return measured


def _plain_client(store: LayerStore, swarm: LocalSwarm, tokens: int) -> dict[str, Any]:
    """What the plain client takes. Raises ChildError."""
    say("memory: the plain client")
    parameters = {"store": str(store.folder), "initial_peers": swarm.initial_peers, "tokens": tokens}
    ended = subprocess.run(
        module_command("scripts.benchmarks.gateway.plain_program", json.dumps(parameters)),
        env=module_environment(),
        capture_output=True,
        text=True,
        timeout=_PLAIN_SECONDS,
    )
    if ended.returncode:
        raise ChildError(f"the plain client failed; it said:\n{ended.stderr[-LAST_CHARACTERS:]}")
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


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
        measured = asyncio.run(measure(flags.only, sizes_of(flags), store))
        goals = goals_of(measured)
        write_json(flags.json, measured | {"goals": [asdict(goal) for goal in goals]})
        print(table(measured))
        say(f"\n{time.monotonic() - started:.0f} s; every value is in {flags.json}")
        return 0 if all(goal.is_met for goal in goals) else 1

    return status_of("bench_gateway", work)


if __name__ == "__main__":
    sys.exit(main())

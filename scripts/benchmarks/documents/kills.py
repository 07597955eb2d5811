"""SIGKILLs of the runner and of servers while a job runs, beside the same job undisturbed."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from p2pinfer.local_swarm.shares import split_layers
from p2pinfer.local_swarm.swarm import LocalSwarm
from p2pinfer.model.layer_store.store import LayerStore
from scripts.benchmarks.documents.corpus import Corpus
from scripts.benchmarks.documents.plan import PEERS, SERVER_CACHE_TOKENS, Sizes, kill_plan
from scripts.benchmarks.documents.runner import Job, compared, write_input
from scripts.benchmarks.shared.hosts import LOOPBACK, Hosts
from scripts.benchmarks.shared.report import say

_REPLICAS = 2
RUNNER, SERVER = "runner", "server"


def measure_kills(store: LayerStore, corpus: Corpus, sizes: Sizes) -> dict[str, Any]:
    """Two replicas of each stage; a killed server starts again at once, as the same peer."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="documents-")))
        hosts = stack.enter_context(Hosts(LOOPBACK, seed=1))
        swarm = stack.enter_context(LocalSwarm())
        spans = split_layers(store.manifest.num_layers, PEERS)
        say("kills: starting the servers")
        swarm.start(
            store.folder,
            [span for span in spans for _ in range(_REPLICAS)],
            threads=1,
            server_arguments=("--max-cache-tokens", str(SERVER_CACHE_TOKENS)),
            places=[hosts.server_place(f"server-{number}") for number in range(_REPLICAS * PEERS)],
        )
        requests = folder / "requests.jsonl"
        write_input(requests, store.manifest.name, corpus.texts(range(sizes.kill_documents)))
        jobs = {
            name: Job(
                folder=folder,
                name=name,
                model=store.folder,
                initial_peers=swarm.fixed_addresses,
                input=requests,
            )
            for name in ("undisturbed", "disturbed")
        }
        say(f"kills: {sizes.kill_documents} documents, undisturbed")
        began = time.monotonic()
        expected = jobs["undisturbed"].run()
        undisturbed_seconds = time.monotonic() - began
        plan = kill_plan(sizes.kills, sizes.kill_documents)
        began = time.monotonic()
        dealt = _run_disturbed(jobs["disturbed"], swarm, plan)
        seconds = time.monotonic() - began
        swarm.wait_ready()
        found = compared(expected, jobs["disturbed"].answers())
    return {
        "documents": sizes.kill_documents,
        "wanted": sizes.kills,
        "dealt": dealt,
        "once": found.once,
        "equal": found.equal,
        "undisturbed": {"answers": len(expected), "seconds": undisturbed_seconds},
        "seconds": seconds,
    }


def _run_disturbed(job: Job, swarm: LocalSwarm, plan: Sequence[tuple[int, bool]]) -> dict[str, int]:
    """Run the job with all kills of the plan. Returns how many hit whom."""
    left = list(plan)
    dealt = {RUNNER: 0, SERVER: 0}
    is_done = False
    while not is_done:
        process = job.start()
        try:
            is_done = True
            for count in job.progress(process):
                if not left or count < left[0][0]:
                    continue
                _, hits_runner = left.pop(0)
                if hits_runner:
                    say(f"kills: the runner, after {count} documents")
                    dealt[RUNNER] += 1
                    process.kill()
                    is_done = False
                    break
                index = dealt[SERVER] % len(swarm.servers)
                say(f"kills: server {index + 1}, after {count} documents")
                dealt[SERVER] += 1
                swarm.kill(index)
                swarm.restart(index)
        finally:
            process.close()
    return dealt

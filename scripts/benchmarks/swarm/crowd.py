"""Many clients in one process, each a thread with an identity, a directory and a route of its own.

`python -m scripts.benchmarks.swarm.crowd PARAMETERS` prints a line when all have joined. For each line on its
standard input, `{"begin": ..., "end": ...}` (CLOCK_MONOTONIC, which all processes of a machine share), every
client generates texts until the end, each in a session of its own. The answer counts the tokens that came
between begin and end, and says which servers computed how many. Embeddings and head are loaded once.
"""

from __future__ import annotations

import json
import queue
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from p2pinfer.client.network import Network, join_through
from p2pinfer.client.patience import Patience
from p2pinfer.client.remote_model import RemoteModel
from p2pinfer.errors import P2PInferError
from p2pinfer.identity import Identity
from p2pinfer.model.ends import ClientEnds
from p2pinfer.model.layer_store.store import LayerStore
from scripts.benchmarks.shared.speech import Speech, listen

JOIN_SECONDS = 120.0


class CrowdClient:
    """One client."""

    def __init__(self, remote: RemoteModel, prompts: Sequence[list[int]], tokens: int, seed: str) -> None:
        self._remote = remote
        self._prompts = prompts
        self._tokens = tokens
        self._chance = random.Random(seed)

    def work(self, begin: float, end: float) -> dict[str, Any]:
        """Generate until the end. Texts have from half to all of the tokens: clients don't march in step."""
        times: list[float] = []
        computed: Counter[str] = Counter()
        texts: list[dict[str, Any]] = []
        errors: list[str] = []
        while time.monotonic() < end:
            prompt = self._chance.randrange(len(self._prompts))
            count = self._chance.randint(self._tokens // 2, self._tokens)
            try:
                texts.append(self._text(prompt, count, end, times, computed))
            except P2PInferError as error:
                errors.append(f"{type(error).__name__}: {error}")
        return {
            "tokens": sum(begin <= at < end for at in times),
            "computed": dict(computed),
            "texts": texts,
            "errors": errors,
        }

    def _text(
        self, prompt: int, count: int, end: float, times: list[float], computed: Counter[str]
    ) -> dict[str, Any]:
        """One text. Counts, for each server of its route, the tokens that it has computed."""
        row = list(self._prompts[prompt])
        length = len(row)
        with self._remote.session(length + count) as session:
            while len(row) < length + count and time.monotonic() < end:
                (hidden,) = session.compute([row], [1])
                row.append(int(self._remote.ends.logits(hidden).argmax()))
                times.append(time.monotonic())
            for hop in session.report():
                computed[hop.peer_id] += (len(row) - 1) * len(hop.layers)
            replaced = session.replaced_hops
        return {"prompt": prompt, "tokens": row[length:], "replaced": replaced}


def join(store: LayerStore, ends: ClientEnds, initial_peers: list[str]) -> RemoteModel:
    """Another client, with a p2pd and an identity of its own."""
    network = Network(join_through(initial_peers, seconds=JOIN_SECONDS), Identity.ephemeral())
    network.follow(store.manifest)
    return RemoteModel(store, ends, network, patience=Patience())


def main() -> int:
    """Join, then work as told."""
    parameters = json.loads(sys.argv[1])
    speech = Speech()
    orders: queue.Queue[dict[str, Any]] = queue.Queue()
    listen(orders.put)
    store = LayerStore.open(Path(parameters["store"]))
    ends = ClientEnds.load(store)
    number = parameters["clients"]
    try:
        with ExitStack() as stack, ThreadPoolExecutor(number) as threads:
            remotes = [
                stack.enter_context(join(store, ends, parameters["initial_peers"])) for _ in range(number)
            ]
            clients = [
                CrowdClient(
                    remote, parameters["prompts"], parameters["tokens"], f"{parameters['seed']} {index}"
                )
                for index, remote in enumerate(remotes)
            ]
            speech.say(ready=True)
            while True:
                order = orders.get()
                works = [threads.submit(client.work, order["begin"], order["end"]) for client in clients]
                speech.say(clients=[work.result() for work in works])
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())

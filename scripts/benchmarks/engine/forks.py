"""Compare the fork of a prompt with its prefill: SmolLM2 at one real server, from the client's side.

One session has a row with the prompt and other rows. In turns the prompt is computed anew, and copied into
one row and into eight. At the end all rows decode the same token, which must give the same bytes in each.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from functools import partial

import numpy as np

from p2pinfer.client.chain.chain import Chain
from p2pinfer.client.chain.prefill import MAX_TOKENS_AHEAD, plan_steps
from p2pinfer.client.chain.session_shape import SessionShape
from p2pinfer.client.failover.unbroken_chain import UnbrokenChain
from p2pinfer.client.patience import Patience
from p2pinfer.client.remote_model import RemoteModel
from p2pinfer.errors import P2PInferError
from p2pinfer.folders import user_cache_folder
from p2pinfer.local_swarm.default_model import SMOLLM2, fetch_model_file
from p2pinfer.local_swarm.swarm import LocalSwarm
from p2pinfer.model.engine.base import Hidden
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.model.source import open_model
from p2pinfer.wire.step_kind import StepKind
from p2pinfer.wire.steps import Fork, Outputs, RowChunk
from scripts.benchmarks.shared.report import Spread, machine, say

COPIES = 8
_OVERDUE_SECONDS = 30.0


def prefill(chain: Chain, hidden: Hidden) -> float:
    """Seconds to compute the prompt in row 0, some steps ahead, as sessions do."""
    started = time.perf_counter()
    under_way: deque[tuple[int, int]] = deque()

    def take_one() -> None:
        step_id, _ = under_way.popleft()
        chain.receive(step_id, tokens=0, overdue_seconds=_OVERDUE_SECONDS)

    for step in plan_steps([RowChunk(0, 0, hidden)], chain.max_step_tokens):
        while sum(tokens for _, tokens in under_way) + step.tokens > MAX_TOKENS_AHEAD:
            take_one()
        under_way.append((chain.send(step.kind, step.chunks, Outputs.NONE), step.tokens))
    while under_way:
        take_one()
    return time.perf_counter() - started


def fork(chain: Chain, tokens: int, rows: int) -> float:
    """Seconds until these rows are copies of row 0."""
    started = time.perf_counter()
    step_id = chain.fork([Fork(row, 0, tokens) for row in range(1, rows + 1)])
    chain.receive(step_id, tokens=0, overdue_seconds=_OVERDUE_SECONDS)
    return time.perf_counter() - started


def all_rows_are_the_same(chain: Chain, tokens: int, token: Hidden) -> bool:
    """True if every row answers the next token with the same bytes."""
    chunks = [RowChunk(row, tokens, token) for row in range(COPIES + 1)]
    step_id = chain.send(StepKind.DECODE, chunks, Outputs.ALL)
    result = chain.receive(step_id, tokens=len(chunks), overdue_seconds=_OVERDUE_SECONDS)
    return len({hidden.tobytes() for hidden in result.hidden}) == 1


def measure(store: LayerStore, tokens: int, repetitions: int) -> tuple[dict[str, list[float]], bool]:
    """Seconds of each kind, and whether the rows were the same."""
    with LocalSwarm() as swarm:
        swarm.start(store.folder, [store.span])
        with RemoteModel.open(store.folder, initial_peers=swarm.initial_peers) as remote:

            def embed(ids: Sequence[int]) -> Hidden:
                return remote.ends.embed(np.asarray(ids, dtype=np.int64))

            network = remote.network
            unbroken = UnbrokenChain(
                network,
                store.manifest,
                Patience(route=30.0, step=30.0),
                embed=embed,
                held=lambda: [[] for _ in range(COPIES + 1)],
                turn=threading.Lock(),
            )
            shape = SessionShape(
                model=store.manifest.hash,
                hidden_size=store.manifest.hidden_size,
                rows=COPIES + 1,
                max_tokens=tokens + 1,
            )
            chain = network.run(unbroken.open(shape))
            try:
                hidden = embed(np.random.default_rng(0).integers(3, 40_000, tokens + 1).tolist())
                kinds = {
                    "prefill": partial(prefill, chain, hidden[:tokens]),
                    "fork into 1 row": partial(fork, chain, tokens, 1),
                    f"fork into {COPIES} rows": partial(fork, chain, tokens, COPIES),
                }
                seconds: dict[str, list[float]] = {name: [] for name in kinds}
                for number in range(repetitions + 1):
                    for name, work in kinds.items():
                        seconds[name] += [work()] if number else [work()][:0]  # the first round warms up
                same = all_rows_are_the_same(chain, tokens, hidden[tokens:])
            finally:
                network.run(unbroken.close())
    return seconds, same


def main() -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="scripts/bench_forks", description=__doc__)
    parser.add_argument("--tokens", type=int, default=1000, metavar="N", help="of the prompt (1000)")
    parser.add_argument("--repetitions", type=int, default=7, metavar="N", help="runs of each (7)")
    flags = parser.parse_args()
    try:
        model_file = fetch_model_file(SMOLLM2, user_cache_folder(), progress=say)
        store = open_model(str(model_file), cache_folder=user_cache_folder(), progress=say)
        seconds, same = measure(store, flags.tokens, flags.repetitions)
    except P2PInferError as error:
        print(f"bench_forks: {error}", file=sys.stderr)
        return 1
    spreads = {name: Spread.of([1000 * one for one in values]) for name, values in seconds.items()}
    print(f"{store.manifest.name}, {flags.tokens} tokens, one server, {machine()['cores']} cores; medians\n")
    for name, spread in spreads.items():
        print(f"{name:18} {spread.median:8.1f} ms {spread.range():>18}")
    ratio = spreads["prefill"].median / spreads["fork into 1 row"].median
    print(f"\na fork is {ratio:.0f} times as fast as the prefill")
    print(f"the next token {'has the same bytes' if same else 'DIFFERS'} in all rows")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())

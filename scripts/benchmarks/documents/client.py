"""The client of the part `home-cable`, as a process on its own host: it works when asked.

`python -m scripts.benchmarks.documents.client PARAMETERS` reads requests, lines of JSON such as
`{"work": "answer", ...}`.
"""

from __future__ import annotations

import asyncio
import json
import queue
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from p2pinfer.local_swarm.shares import split_layers
from p2pinfer.model.ends import ClientEnds
from p2pinfer.model.engine import load_engine
from p2pinfer.model.layer_store.store import LayerStore
from scripts.benchmarks.contenders.step_times import StepTotals
from scripts.benchmarks.contenders.texts import join_and_answer
from scripts.benchmarks.shared.engine_seconds import (
    decode_seconds,
    median_seconds,
    noise_states,
    prefill_seconds,
)
from scripts.benchmarks.shared.speech import Speech, answer_requests, listen


def compute(
    store: str, *, stages: int, lengths: Sequence[int], shared: int, answer: int, rows: int, step_tokens: int
) -> dict[str, Any]:
    """Seconds of one document alone on this machine: in every stage's engine, with one thread as servers
    have, and in the client's ends.

    A document's steps are those of its prompt, `lengths` tokens less the `shared` ones that are there, in
    pieces, and a share of `answer - 1` steps that decode `rows` rows.
    """
    opened = LayerStore.open(Path(store))
    seconds = []
    for layers in split_layers(opened.manifest.num_layers, stages):
        engine = load_engine(opened, layers, threads=1)
        prefill = [
            prefill_seconds(engine, length, behind=shared, step_tokens=step_tokens) for length in lengths
        ]
        decode = decode_seconds(engine, rows, round(mean(lengths)) + answer // 2) / rows
        seconds.append(mean(prefill) + (answer - 1) * decode)
    ends = ClientEnds.load(opened)
    states = noise_states(rows, opened.manifest.hidden_size)
    ids = np.zeros(round(mean(lengths)) - shared, np.int64)
    return {
        "stage_seconds": seconds,
        "ends_seconds": median_seconds(lambda: ends.embed(ids))
        + answer / rows * median_seconds(lambda: ends.logits(states).argmax(axis=1)),
    }


def main() -> int:
    """Do the work that each line asks for."""
    parameters = json.loads(sys.argv[1])
    speech = Speech()
    requests: queue.Queue[dict[str, Any]] = queue.Queue()
    listen(requests.put)
    store, steps = parameters["store"], StepTotals()

    def answer(**request: Any) -> dict[str, Any]:
        return asyncio.run(join_and_answer(store, parameters["initial_peers"], steps, **request))

    works: dict[str, Callable[..., dict[str, Any]]] = {"compute": partial(compute, store), "answer": answer}
    try:
        answer_requests(speech, requests, works)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())

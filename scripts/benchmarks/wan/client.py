"""The client of bench_wan, as a process on its own host: it works when asked, and answers with times.

`python -m scripts.benchmarks.wan.client PARAMETERS` reads requests, lines of JSON such as
`{"work": "stream", ...}`.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from transformers.generation.streamers import BaseStreamer

from p2pinfer import AutoDistributedModelForCausalLM
from p2pinfer.client.generation import DistributedCausalLM
from p2pinfer.local_swarm.shares import split_layers
from p2pinfer.model.ends import ClientEnds
from p2pinfer.model.engine import load_engine
from p2pinfer.model.layer_store.store import LayerStore
from scripts.benchmarks.contenders import hf_generation
from scripts.benchmarks.contenders.step_times import record_steps
from scripts.benchmarks.shared.engine_seconds import decode_seconds, median_seconds
from scripts.benchmarks.shared.speech import Speech, answer_requests, listen


class Client:
    """A member of the swarm, with a model for each wire dtype."""

    def __init__(self, parameters: dict[str, Any], stack: ExitStack) -> None:
        self._store = LayerStore.open(Path(parameters["store"]))
        self._ends = ClientEnds.load(self._store)
        self._models: dict[str, DistributedCausalLM] = {
            dtype: stack.enter_context(
                AutoDistributedModelForCausalLM.from_pretrained(
                    parameters["store"], initial_peers=parameters["initial_peers"], wire_dtype=dtype
                )
            )
            for dtype in parameters["wire_dtypes"]
        }
        self._steps = record_steps()

    def compute(self, stages: int, rows: Sequence[int], length: int) -> dict[str, Any]:
        """Median seconds of one step alone on this machine: in every stage's engine and in the client's ends.

        Measured for each number of `rows`, whose caches hold `length` tokens; one thread, as the servers.
        """
        found: dict[str, Any] = {"stages": {str(count): [] for count in rows}, "ends": {}}
        for layers in split_layers(self._store.manifest.num_layers, stages):
            engine = load_engine(self._store, layers, threads=1)
            for count in rows:
                found["stages"][str(count)].append(decode_seconds(engine, count, length))
        noise = np.random.default_rng(0).standard_normal(
            (max(rows), self._store.manifest.hidden_size), dtype=np.float32
        )
        for count in rows:
            ids = np.zeros(count, np.int64)
            found["ends"][str(count)] = median_seconds(
                lambda count=count, ids=ids: (  # type: ignore[misc]
                    self._ends.embed(ids),
                    self._ends.logits(noise[:count]).argmax(axis=1),
                )
            )
        return found

    def stream(self, prompt: list[int], tokens: int) -> dict[str, Any]:
        """One generation: its seconds after the first token, and how long engines and waiting took."""
        self._steps.clear()
        answer = hf_generation.decode(self._models["float32"], [prompt], tokens)
        return answer | {"steps": list(self._steps[1:]), "tokens": tokens}

    def batch(self, prompts: list[list[int]], sessions: int, tokens: int) -> dict[str, Any]:
        """Tokens per second of `sessions` sessions at once, in threads, each with its share of the prompts.

        Counted while all sessions decode: from the last session's first token to the first session's last.
        """
        share = len(prompts) // sessions
        ticks: list[list[float]] = [[] for _ in range(sessions)]
        threads = [
            threading.Thread(
                target=_generate,
                args=(self._models["float32"], prompts[number * share : (number + 1) * share], tokens, times),
            )
            for number, times in enumerate(ticks)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        began, ended = max(times[0] for times in ticks), min(times[-1] for times in ticks)
        steps = sum(began < tick <= ended for times in ticks for tick in times)
        return {
            "tokens_per_second": share * steps / (ended - began),
            "rows": share,
            "step_seconds": median(later - former for times in ticks for former, later in pairwise(times)),
        }

    def prefill(self, prompt: list[int], wire_dtype: str) -> dict[str, Any]:
        """The seconds of two prompts on an open route: the first when the route has carried next to nothing.

        `engine_seconds` are each hop's, for one of the two prompts.
        """
        vocabulary = self._store.manifest.vocab_size
        model = self._models[wire_dtype]
        with model.inference_session(max_length=len(prompt)) as session:
            # Other first tokens: the servers drop what they hold, and compute everything.
            model(torch.tensor([[(prompt[0] + 2) % vocabulary]]))
            seconds = []
            before = [hop.compute_seconds for hop in session.report()]
            for text in (prompt, [(prompt[0] + 1) % vocabulary, *prompt[1:]]):
                started = time.perf_counter()
                model(torch.tensor([text]), logits_to_keep=1).logits.argmax()
                seconds.append(time.perf_counter() - started)
            engines = [
                (hop.compute_seconds - already) / len(seconds)
                for hop, already in zip(session.report(), before, strict=True)
            ]
        return {"first_seconds": seconds[0], "second_seconds": seconds[1], "engine_seconds": engines}


class _Ticking(BaseStreamer):
    """A streamer: generate() first gives it the prompt, then the next token of all sequences at once."""

    def __init__(self, times: list[float]) -> None:
        self._times = times
        self._prompt_seen = False

    def put(self, value: Any) -> None:
        if self._prompt_seen:
            self._times.append(time.perf_counter())
        self._prompt_seen = True

    def end(self) -> None:
        pass


def _generate(
    model: DistributedCausalLM, prompts: Sequence[list[int]], tokens: int, times: list[float]
) -> None:
    model.generation_config.eos_token_id = None
    ids = torch.tensor(prompts)
    model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=tokens,
        do_sample=False,
        pad_token_id=0,
        streamer=_Ticking(times),
    )


def main() -> int:
    """Join the swarm, then do the work that each line asks for."""
    parameters = json.loads(sys.argv[1])
    speech = Speech()
    requests: queue.Queue[dict[str, Any]] = queue.Queue()
    listen(requests.put)
    torch.set_num_threads(1)  # torch does little work here, and the servers need the cores
    try:
        with ExitStack() as stack:
            client = Client(parameters, stack)
            works: dict[str, Callable[..., dict[str, Any]]] = {
                "compute": client.compute,
                "stream": client.stream,
                "batch": client.batch,
                "prefill": client.prefill,
            }
            answer_requests(speech, requests, works)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())

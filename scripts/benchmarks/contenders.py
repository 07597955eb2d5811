"""What bench_generate compares. Each contender is a process that loads once and generates when asked.

`python contenders.py NAME PARAMETERS` answers, with a JSON line each, that it is ready, and then every line
it reads with one generation. Staying alive lets the contenders take turns, so that a machine that slows
down for a minute slows all of them.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Generate = Callable[[], list[int]]
"""Generates once; calls the clock's `tick` per token and returns the new tokens' ids."""

QUESTION = "Explain in detail how a bicycle stays upright while it is moving."


class Clock:
    """Notes when each token came."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.ticks: list[float] = []

    def restart(self) -> None:
        """Begin a generation."""
        self.started, self.ticks = time.perf_counter(), []

    def tick(self) -> None:
        """A token is there."""
        self.ticks.append(time.perf_counter())


def streamed(model: Any, store_folder: str, num_tokens: int, clock: Clock) -> Generate:
    """Generation by transformers' generate(), whatever model is behind it."""
    import torch
    from transformers import AutoTokenizer
    from transformers.generation.streamers import BaseStreamer

    from p2pinfer.demo.answer import encode_prompt

    class Ticking(BaseStreamer):
        prompt_seen = False

        def put(self, value: Any) -> None:
            if self.prompt_seen:
                clock.tick()
            self.prompt_seen = True

        def end(self) -> None:
            pass

    ids = encode_prompt(AutoTokenizer.from_pretrained(store_folder), QUESTION)

    def generate() -> list[int]:
        output = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            min_new_tokens=num_tokens,
            max_new_tokens=num_tokens,
            do_sample=False,
            streamer=Ticking(),
        )
        return output[0, ids.shape[1] :].tolist()  # type: ignore[no-any-return]

    return generate


def load_transformers(parameters: dict[str, Any], clock: Clock) -> Generate:
    """The same weights as they came, in one process of transformers, at its default number of threads."""
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    gguf = Path(parameters["model_file"])
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        dtype=getattr(torch, parameters["dtype"]),
        # Kept packed, every product would have to unpack its weights: slower, and another model.
        quantization_config=GgufConfig(dequantize=True),
    )
    return streamed(model, parameters["store"], parameters["num_tokens"], clock)


def load_one_process(parameters: dict[str, Any], clock: Clock) -> Generate:
    """All layers in one engine, with the client's ends around it, and no network."""
    import numpy as np
    from transformers import AutoTokenizer, GenerationConfig

    from p2pinfer.demo.answer import encode_prompt
    from p2pinfer.model.ends import ClientEnds
    from p2pinfer.model.engine import load_engine
    from p2pinfer.model.engine.base import Chunk
    from p2pinfer.model.store import LayerStore
    from p2pinfer.types import Span

    store = LayerStore.open(Path(parameters["store"]))
    engine = load_engine(store, Span(0, store.manifest.num_layers))
    ends = ClientEnds.load(store)
    prompt = encode_prompt(AutoTokenizer.from_pretrained(store.folder), QUESTION)[0].numpy()
    end_of_text = GenerationConfig.from_pretrained(store.folder).eos_token_id

    def generate() -> list[int]:
        cache = engine.new_cache()
        tokens: list[int] = []
        ids = prompt
        while len(tokens) < parameters["num_tokens"]:
            (hidden,) = engine.forward([Chunk(cache, ends.embed(ids))])
            logits = ends.logits(hidden[-1:])[0]
            logits[end_of_text] = -np.inf
            tokens.append(int(logits.argmax()))
            clock.tick()
            ids = np.array(tokens[-1:], dtype=np.int64)
        cache.release()
        return tokens

    return generate


def load_swarm_client(parameters: dict[str, Any], clock: Clock) -> Generate:
    """The Python API over a swarm of real server processes, which the parent started."""
    import torch

    from p2pinfer import AutoDistributedModelForCausalLM

    torch.set_num_threads(1)  # what torch does here is tiny, and the servers need the cores
    model = AutoDistributedModelForCausalLM.from_pretrained(
        parameters["store"], initial_peers=parameters["initial_peers"]
    )
    return streamed(model, parameters["store"], parameters["num_tokens"], clock)


LOADERS = {"transformers": load_transformers, "one-process": load_one_process, "swarm": load_swarm_client}


def main() -> None:
    """Load, then generate once per line read."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints must not mix with the answers
    clock = Clock()
    generate = LOADERS[sys.argv[1]](json.loads(sys.argv[2]), clock)
    print(json.dumps({"ready": True}), file=answers)
    for _ in sys.stdin:
        clock.restart()
        tokens = generate()
        answer = {
            "tokens": tokens,
            "seconds": time.perf_counter() - clock.started,
            "first_seconds": clock.ticks[0] - clock.started,
            "later_seconds": clock.ticks[-1] - clock.ticks[0],
        }
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()

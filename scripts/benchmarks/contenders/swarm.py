"""The Python API over a swarm of real server processes, which the parent started."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from p2pinfer import AutoDistributedModelForCausalLM
from p2pinfer.client.generation import DistributedCausalLM
from scripts.benchmarks.contenders import hf_generation
from scripts.benchmarks.contenders.step_times import record_steps


def load(store: str, initial_peers: list[str]) -> dict[str, Callable[..., dict[str, Any]]]:
    """Join the swarm as a client."""
    torch.set_num_threads(1)  # torch does little work here, and the servers need the cores
    model = AutoDistributedModelForCausalLM.from_pretrained(store, initial_peers=initial_peers)
    tokenizer = None
    if (Path(store) / "tokenizer.json").exists():
        tokenizer = AutoTokenizer.from_pretrained(store)  # every client has one: its memory counts
    client = _Client(model, tokenizer)
    return {"decode": client.decode, "prefill": client.prefill, "hold": client.hold}


class _Client:
    """One client of the swarm."""

    def __init__(self, model: DistributedCausalLM, tokenizer: Any) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._held = ExitStack()
        self._steps = record_steps()

    def decode(self, prompts: list[list[int]], tokens: int) -> dict[str, Any]:
        """Greedy tokens for every prompt; `steps` says for every token where its time went."""
        self._steps.clear()
        answer = hf_generation.decode(self._model, prompts, tokens)
        return answer | {"steps": list(self._steps), "hops": len(self._model.route_report())}

    def prefill(self, prompt: list[int]) -> dict[str, Any]:
        """Measure the token after one prompt: in a call of its own, and on a route that is open already."""
        answer = hf_generation.decode(self._model, [prompt], 1)
        other = (prompt[0] + 1) % self._model.manifest.vocab_size
        with self._model.inference_session(max_length=len(prompt)):
            # Another first token: the servers drop their history, and compute the whole prompt.
            self._model(torch.tensor([[other]]))
            started = time.perf_counter()
            self._model(torch.tensor([prompt]), logits_to_keep=1).logits.argmax()
            open_seconds = time.perf_counter() - started
        return answer | {"open_seconds": open_seconds}

    def hold(self, prompt: list[int]) -> dict[str, Any]:
        """Compute a prompt and keep the session open, idle from then on."""
        self._held.enter_context(self._model.inference_session(max_length=2 * len(prompt)))
        self._model(torch.tensor([prompt]), logits_to_keep=1)
        return {}

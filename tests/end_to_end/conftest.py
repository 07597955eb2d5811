"""Swarms of real processes with the real small model, and the single-process reference for their texts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from p2pinfer import AutoDistributedModelForCausalLM, DistributedCausalLM
from p2pinfer.local_swarm.shares import split_layers
from p2pinfer.local_swarm.swarm import LocalSwarm
from p2pinfer.model.ends import ClientEnds
from p2pinfer.model.engine import load_engine
from p2pinfer.model.engine.base import Chunk, Hidden
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.types import Span

PROMPTS = (
    "The capital of France is",
    "Once upon a time, in a land far away, there lived a small dragon who",
    "def fibonacci(n):",
    "Water boils at",
    "The three primary colours are red,",
    "Dear Sir or Madam,\n\nI am writing to",
    "1, 2, 3, 4,",
    "Q: Why is the sky blue?\nA:",
)


class OneProcess:
    """The same INT8 layers and ends in this process: the swarm has to reproduce its output."""

    def __init__(self, store: LayerStore) -> None:
        self.engine = load_engine(store, Span(0, store.manifest.num_layers), threads=1)
        self.ends = ClientEnds.load(store)

    def hidden(self, ids: list[int]) -> Hidden:
        """The last layer's hidden states of one sequence, [tokens, hidden]."""
        cache = self.engine.new_cache()
        try:
            return self.engine.forward([Chunk(cache, self.ends.embed(np.array(ids)))])[0]
        finally:
            cache.release()

    def greedy(self, ids: list[int], tokens: int) -> list[int]:
        """The next `tokens` tokens; end-of-text counts as any other."""
        cache, new = self.engine.new_cache(), list(ids)
        text: list[int] = []
        try:
            for _ in range(tokens):
                hidden = self.engine.forward([Chunk(cache, self.ends.embed(np.array(new)))])[0]
                new = [int(self.ends.logits(hidden[-1:]).argmax())]
                text += new
        finally:
            cache.release()
        return text


@pytest.fixture(scope="session")
def one_process(smollm2: LayerStore) -> OneProcess:
    return OneProcess(smollm2)


@pytest.fixture(scope="session")
def tokenizer(smollm2: LayerStore) -> PreTrainedTokenizerBase:
    tokenizer = AutoTokenizer.from_pretrained(smollm2.folder)
    tokenizer.padding_side = "left"
    return tokenizer


@pytest.fixture(scope="package")
def three_servers(smollm2: LayerStore) -> Iterator[LocalSwarm]:
    """Ten layers each."""
    with LocalSwarm() as swarm:
        swarm.start(smollm2.folder, split_layers(30, 3), threads=1)
        yield swarm


@pytest.fixture(scope="package")
def model(smollm2: LayerStore, three_servers: LocalSwarm) -> Iterator[DistributedCausalLM]:
    """A client of the three servers."""
    torch.set_num_threads(1)
    with AutoDistributedModelForCausalLM.from_pretrained(
        smollm2.folder, initial_peers=three_servers.initial_peers
    ) as model:
        yield model

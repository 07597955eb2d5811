"""A tiny Llama in a swarm of this process, and transformers' own model with the same weights."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from transformers import PreTrainedModel

from p2pinfer.client.generation import DistributedCausalLM
from p2pinfer.model.layer_store.store import LayerStore
from tests.client.tiny_swarm import tiny_model_in_a_swarm
from tests.model.tiny_models import oracle, tiny_store


@pytest.fixture(scope="package")
def store(tmp_path_factory) -> LayerStore:
    return tiny_store(tmp_path_factory.mktemp("llama"), "llama")


@pytest.fixture(scope="package")
def model(store) -> Iterator[DistributedCausalLM]:
    with tiny_model_in_a_swarm(store) as model:
        yield model


@pytest.fixture(scope="package")
def local(store) -> PreTrainedModel:
    """Transformers' own model with the same weights."""
    return oracle(store, rounding=True).requires_grad_(False)


@pytest.fixture(autouse=True)
def _no_grad() -> Iterator[None]:
    with torch.no_grad():
        yield

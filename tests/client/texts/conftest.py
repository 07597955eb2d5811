"""A tiny Llama with a small real tokenizer and a chat template, in a swarm of this process."""

from __future__ import annotations

import json
import string
from collections.abc import Iterator

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from p2pinfer.client.generation import DistributedCausalLM
from p2pinfer.client.remote_model import RemoteModel
from p2pinfer.model.source import open_model
from tests.client.tiny_swarm import tiny_model_in_a_swarm
from tests.model.tiny_models import VOCAB_SIZE, save_tiny_model

TEMPLATE = (
    "{% for message in messages %}[{{ message.role }}]{{ message.content }}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


@pytest.fixture(scope="package")
def generating(tmp_path_factory) -> Iterator[DistributedCausalLM]:
    """transformers' head on it."""
    folder = tmp_path_factory.mktemp("texts")
    source = save_tiny_model(folder / "source", "llama")
    small_tokenizer().save(str(source / "tokenizer.json"))
    described = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>", "chat_template": TEMPLATE}
    (source / "tokenizer_config.json").write_text(json.dumps(described))
    store = open_model(str(source), cache_folder=folder / "cache", progress=lambda line: None)
    with tiny_model_in_a_swarm(store) as model:
        yield model


@pytest.fixture(scope="package")
def remote(generating) -> RemoteModel:
    return generating.remote


def small_tokenizer() -> Tokenizer:
    """Printable ASCII as bytes, and words to fill the model's vocabulary."""
    marks = ["<pad>", "<s>", "</s>"]
    letters = [*string.ascii_letters, *string.digits, *"[]{}.,!?\"':_-Ġ"]
    pairs = [(one, other) for one in "etaoins" for other in "hrnstlde"]
    merged = [one + other for one, other in pairs if one + other not in marks]
    words = [*marks, *letters, *merged][:VOCAB_SIZE]
    kept = [(one, other) for one, other in pairs if one + other in words]
    tokenizer = Tokenizer(models.BPE({word: index for index, word in enumerate(words)}, kept))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(mark, special=True) for mark in marks])
    return tokenizer

"""Without use_cache the text is the same: the servers cache it anyway."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import GenerationConfig

from tests.client.generation.inputs import GREEDY, tokens
from tests.client.tiny_swarm import tiny_model_in_a_swarm
from tests.model.tiny_models import tiny_store


@pytest.mark.parametrize("ways", ["argument", "object", "model"])
def test_without_use_cache_the_text_is_that_of_a_cached_run(model, local, monkeypatch, ways):
    ids = tokens(2, 12)
    cached = model.generate(ids, max_new_tokens=10, **GREEDY)
    options = dict(max_new_tokens=10, **GREEDY)
    if ways == "argument":
        uncached = model.generate(ids, use_cache=False, **options)
    elif ways == "object":
        uncached = model.generate(ids, GenerationConfig(use_cache=False, **options))
    else:
        monkeypatch.setattr(model.generation_config, "use_cache", False)
        uncached = model.generate(ids, **options)
    assert torch.equal(uncached, cached)
    assert torch.equal(uncached, local.generate(ids, max_new_tokens=10, use_cache=False, **GREEDY))


def test_a_checkpoint_that_says_use_cache_false_gives_the_same_text(tmp_path, model):
    changed = tiny_store(tmp_path, "llama")
    (changed.folder / "generation_config.json").write_text(json.dumps({"use_cache": False}))
    ids = tokens(1, 9)
    with tiny_model_in_a_swarm(changed) as without:
        assert without.generation_config.use_cache is False
        text = without.generate(ids, max_new_tokens=8, **GREEDY)
        with without.inference_session(max_length=64):
            assert torch.equal(without.generate(ids, max_new_tokens=8, **GREEDY), text)
    assert torch.equal(text, model.generate(ids, max_new_tokens=8, **GREEDY))


def test_without_use_cache_no_cache_is_returned_as_in_transformers(model, local):
    ids = tokens(1, 5)
    options = {"use_cache": False, "return_dict_in_generate": True, "max_new_tokens": 2, **GREEDY}
    assert local.generate(ids, **options).past_key_values is None
    assert model.generate(ids, **options).past_key_values is None
    with model.inference_session(max_length=16):
        assert model(ids, use_cache=False).past_key_values is None
        assert model(ids).past_key_values is not None

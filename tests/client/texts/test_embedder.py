"""Embeddings through a swarm, against the same model in this process."""

from __future__ import annotations

import json

import numpy as np
import pytest

from p2pinfer.client.texts.embedder import Embedder
from p2pinfer.errors import PromptTooLongError, UsageError
from p2pinfer.model.ends import ClientEnds
from p2pinfer.model.engine.base import Chunk
from p2pinfer.model.source import open_model
from tests.client.tiny_swarm import tiny_model_in_a_swarm
from tests.model.tiny_models import reference, save_tiny_model

PROMPTS = [[5, 6, 7], [9], list(range(3, 120)), [5, 6, 7], *[[40 + index, 3] for index in range(20)]]


def embedding_store(folder, mode: str, *, normalize: bool = True):
    """A tiny model with the files that Sentence Transformers write."""
    source = save_tiny_model(folder / "source", "llama")
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")] + [("2_Normalize", "Normalize")] * normalize
    described = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (path, kind) in enumerate(modules)
    ]
    (source / "modules.json").write_text(json.dumps(described))
    (source / "1_Pooling").mkdir()
    (source / "1_Pooling" / "config.json").write_text(
        json.dumps({"word_embedding_dimension": 32, f"pooling_mode_{mode}": True})
    )
    return open_model(str(source), cache_folder=folder / "cache", progress=lambda line: None)


@pytest.mark.parametrize(
    ("mode", "pooled"),
    [("lasttoken", lambda states: states[-1]), ("mean_tokens", lambda states: states.mean(0))],
)
async def test_embeddings_are_the_pooled_states_of_the_model(tmp_path, mode, pooled):
    store = embedding_store(tmp_path, mode)
    ends, engine = ClientEnds.load(store), reference(store)
    with tiny_model_in_a_swarm(store) as model:
        vectors = await Embedder(model.remote).embed(PROMPTS)
    assert vectors.shape == (len(PROMPTS), 32)
    for prompt, vector in zip(PROMPTS, vectors, strict=True):
        cache = engine.new_cache()
        (hidden,) = engine.forward([Chunk(cache, ends.embed(np.array(prompt)))])
        expected = pooled(ends.normed(hidden))
        np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), rtol=1e-5, atol=1e-6)
    assert (vectors[0] == vectors[3]).all()


async def test_what_cant_be_embedded_is_refused(tmp_path, remote):
    with pytest.raises(UsageError, match="no embedding model"):
        await Embedder(remote).embed([[1]])
    store = embedding_store(tmp_path, "lasttoken")
    with tiny_model_in_a_swarm(store) as model:
        embedder = Embedder(model.remote)
        assert embedder.is_possible
        with pytest.raises(UsageError, match="no tokens"):
            await embedder.embed([[1], []])
        with pytest.raises(PromptTooLongError, match="at most 256"):
            await embedder.embed([[1] * 257])
        assert (await embedder.embed([])).shape == (0, 32)

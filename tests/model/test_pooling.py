"""Embeddings: the vector of a text, and the file of a store that says how to make it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from p2pinfer.errors import StoreError, UsageError
from p2pinfer.model.conversion import reconvert
from p2pinfer.model.ends import ClientEnds
from p2pinfer.model.engine.base import Chunk
from p2pinfer.model.formats.hf_folder import HfFolder
from p2pinfer.model.formats.hub.model import HubModel
from p2pinfer.model.formats.hub.repository import find_repository
from p2pinfer.model.layer_store.manifest import hash_of
from p2pinfer.model.layer_store.names import POOLING_FILE
from p2pinfer.model.pooling import Pooling, pool, pooling_of
from p2pinfer.model.source import convert_model
from p2pinfer.model.verification import verify
from tests.model.formats.hub.loopback_hub import LoopbackHub
from tests.model.tiny_models import oracle, oracle_run, random_ids, reference, save_tiny_model

LAST = Pooling(mode="last", is_normalized=True)


def silent(line: str) -> None:
    """Progress that nobody reads."""


def make_embedding_model(folder: Path, mode: str = "lasttoken") -> None:
    """Add what Sentence Transformers adds to a model's folder."""
    kinds = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    listed = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for kind, path in kinds.items()]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(json.dumps({"pooling_mode": mode}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny model that makes embeddings."""
    folder = save_tiny_model(tmp_path / "model", "qwen3")
    make_embedding_model(folder)
    return folder


@pytest.mark.parametrize("mode", ["first", "last", "mean"])
@pytest.mark.parametrize("is_normalized", [True, False])
@pytest.mark.parametrize("tokens", [1, 2, 700])
def test_a_vector_is_what_sentence_transformers_defines(mode: Any, is_normalized: bool, tokens: int):
    """Its formulas, written with torch: sum over count for the mean, and torch's own normalize."""
    hidden = np.random.default_rng(tokens).standard_normal((tokens, 96), np.float32) * 5
    whole = torch.from_numpy(hidden)
    expected = {"first": whole[0], "last": whole[-1], "mean": whole.sum(0) / max(tokens, 1e-9)}[mode]
    if is_normalized:
        expected = torch.nn.functional.normalize(expected, p=2, dim=0)
    vector = pool(hidden, Pooling(mode=mode, is_normalized=is_normalized))

    assert vector.dtype == np.float32
    assert vector.shape == (96,)
    np.testing.assert_allclose(vector, expected.numpy(), rtol=2e-5, atol=2e-6)
    assert pool(hidden, Pooling(mode=mode, is_normalized=is_normalized)).tobytes() == vector.tobytes()


def test_pooling_changes_nothing_of_what_it_reads():
    hidden = np.full((2, 4), 3, np.float32)
    pool(hidden, LAST)

    np.testing.assert_array_equal(hidden, 3)


@pytest.mark.parametrize("value", [0.0, 1e-30, 1e30])
def test_very_short_and_very_long_vectors_stay_numbers(value: float):
    vector = pool(np.full((3, 4), value, np.float32), LAST)

    assert np.isfinite(vector).all()
    assert np.linalg.norm(vector) <= 1.0001


@pytest.mark.parametrize("shape", [(0, 4), (4,), (1, 2, 3)])
def test_no_token_makes_no_vector(shape: tuple[int, ...]):
    with pytest.raises(UsageError, match="at least one token"):
        pool(np.zeros(shape, np.float32), LAST)


def test_a_text_is_embedded_as_the_whole_model_does(folder: Path, tmp_path: Path):
    """The last token's activations after the final norm."""
    store = convert_model(str(folder), tmp_path / "store", silent)
    ends, ids = ClientEnds.load(store), random_ids(9)
    engine = reference(store)
    cache = engine.new_cache()
    (hidden,) = engine.forward([Chunk(cache, ends.embed(ids))])
    cache.release()
    model = oracle(store, rounding=True)
    _, before_norm, _ = oracle_run(model, ids)
    expected = model.model.norm(torch.from_numpy(before_norm))[-1]
    expected = torch.nn.functional.normalize(expected, dim=0).detach().numpy()
    found = pool(ends.normed(hidden), pooling_of(store))

    assert float(found @ expected) > 0.9999


def test_a_store_of_an_embedding_model_says_how_to_pool(folder: Path, tmp_path: Path):
    """In a small file that clients fetch with the tokenizer."""
    store = convert_model(str(folder), tmp_path / "store", silent)

    assert pooling_of(store) == LAST
    assert POOLING_FILE in store.manifest.end_files
    assert verify(store.manifest, HfFolder(folder, "tiny"), silent).different is None


def test_a_store_of_another_model_is_as_it_always_was(folder: Path, tmp_path: Path):
    """Same files, same hash; nor do modules that aren't understood change it, but they are remarked on."""
    embedding = convert_model(str(folder), tmp_path / "embedding", silent).manifest
    (folder / "1_Pooling/config.json").write_text("{}")
    lines: list[str] = []
    odd = convert_model(str(folder), tmp_path / "odd", lines.append)
    (folder / "modules.json").unlink()
    plain = convert_model(str(folder), tmp_path / "plain", silent)

    assert embedding.files.keys() - plain.manifest.files.keys() == {POOLING_FILE}
    without = {name: entry for name, entry in embedding.files.items() if name != POOLING_FILE}
    assert plain.manifest.hash == odd.manifest.hash == hash_of(without) != embedding.hash
    assert pooling_of(plain) is pooling_of(odd) is None
    assert [line for line in lines if line.startswith("embeddings of this model can't be served")]


def test_the_file_can_be_made_again_and_is_the_same_from_the_hub(folder: Path, tmp_path: Path):
    store = convert_model(str(folder), tmp_path / "store", silent)
    for source in (HfFolder(folder, "tiny"), None):
        (store.folder / POOLING_FILE).unlink()
        with LoopbackHub({"some/tiny": folder}) as hub:
            found = source or HubModel(find_repository("some/tiny", endpoint=hub.endpoint), silent)
            reconvert(found, store, [POOLING_FILE], silent)

        assert pooling_of(store) == LAST


@pytest.mark.parametrize(
    "content",
    [
        {},
        [],
        None,
        {"mode": "last"},
        {"mode": "max", "normalize": True},
        {"mode": ["last"], "normalize": True},
        {"mode": "last", "normalize": 1},
        {"mode": "last", "normalize": True, "dense": "x"},
    ],
)
def test_a_strangers_file_that_says_something_else_is_refused(content: Any):
    with pytest.raises(StoreError, match=r"pooling\.json"):
        Pooling.from_json(content)


def test_what_is_written_is_read_as_the_same():
    for pooling in (LAST, Pooling(mode="first", is_normalized=False)):
        assert Pooling.from_json(json.loads(json.dumps(pooling.to_json()))) == pooling


def test_an_altered_file_is_noticed(folder: Path, tmp_path: Path):
    store = convert_model(str(folder), tmp_path / "store", silent)
    (store.folder / POOLING_FILE).write_text('{"mode": "mean", "normalize": true}')

    with pytest.raises(StoreError, match=r"pooling\.json"):
        pooling_of(store)

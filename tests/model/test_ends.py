"""The client's part of a model."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from p2pinfer.errors import StoreError, UsageError
from p2pinfer.model.ends import ClientEnds
from p2pinfer.model.families import ends_recipe
from p2pinfer.model.int8_matrix import TorchInt8Matrix, int8_matrix
from p2pinfer.model.layer_store.names import ENDS_FILE
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.model.quantization import dequantize_rows, quantize_rows
from tests.model.tiny_models import VOCAB_SIZE, random_ids, relative_difference, tiny_store


def test_the_ends_work_where_no_layer_file_is(tmp_path: Path):
    """A client never holds a decoder layer."""
    store = tiny_store(tmp_path, "gemma2")
    shutil.rmtree(store.folder / "layers")
    ends = ClientEnds.load(LayerStore.open(store.folder))

    assert ends.logits(ends.embed(random_ids(3))).shape == (3, VOCAB_SIZE)


def test_only_the_config_and_the_ends_are_opened(tmp_path: Path):
    """Every file that Python opens while a client loads."""
    store = tiny_store(tmp_path, "llama")
    opened: list[str] = []
    watching = True

    def audit(event: str, args: tuple[object, ...]) -> None:
        if watching and event == "open" and str(args[0]).startswith(str(store.folder)):
            opened.append(str(Path(str(args[0])).relative_to(store.folder)))

    sys.addaudithook(audit)
    ClientEnds.load(LayerStore.open(store.folder))
    watching = False

    assert set(opened) == {"manifest.json", "config.json", ENDS_FILE}


def test_many_tokens_at_once_have_the_embeddings_that_each_has_alone(tmp_path: Path):
    ends = ClientEnds.load(tiny_store(tmp_path, "llama"))
    ids = random_ids(300)
    together = ends.embed(ids)
    assert together.shape[0] == 300
    assert np.array_equal(
        together, np.concatenate([ends.embed(ids[place : place + 1]) for place in range(300)])
    )
    assert ends.embed(ids[:0]).shape == (0, together.shape[1])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_embeddings_that_were_read_don_t_stay_in_memory(tmp_path: Path):
    """Of 100 MB of embeddings, every page is touched; few stay."""
    recipe = ends_recipe(tiny_store(tmp_path, "llama").config_fields)
    file, width = tmp_path / "rows", 2048
    rows = np.memmap(file, np.int8, "w+", shape=(50_000, width))
    head = quantize_rows(np.ones((4, width), np.float32))
    norm = np.ones(width, np.float32)
    ends = ClientEnds(recipe, (rows, np.ones(len(rows), np.float32)), int8_matrix(*head), norm, None)
    ends.embed(np.arange(0, len(rows), 2))
    assert _resident_bytes(file) < 10_000_000


def _resident_bytes(file: Path) -> int:
    """How much of a mapped file counts as memory of this process."""
    total, is_it = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if line.split()[0].count("-") == 1 and ":" not in line.split()[0]:
            is_it = line.endswith(str(file))
        elif is_it and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024
    return total


def test_a_token_id_that_the_model_lacks_is_refused(tmp_path: Path):
    """It must not give another token's embedding."""
    ends = ClientEnds.load(tiny_store(tmp_path, "llama"))
    for wrong in (-1, VOCAB_SIZE):
        with pytest.raises(UsageError, match=f"token ids run from 0 to {VOCAB_SIZE - 1}"):
            ends.embed(np.array([0, wrong]))


def test_a_tied_head_is_the_embeddings(tmp_path: Path):
    assert "lm_head.weight" not in tiny_store(tmp_path / "tied", "qwen3").ends_tensors()
    assert "lm_head.weight" in tiny_store(tmp_path / "own", "llama").ends_tensors()


def test_each_token_scores_the_same_alone_and_among_others(tmp_path: Path):
    """A batch gives the same text as its prompts one by one."""
    ends = ClientEnds.load(tiny_store(tmp_path, "gemma3_text"))
    hidden = np.random.default_rng(0).standard_normal((9, 32)).astype(np.float32)
    together = ends.logits(hidden)

    for row in range(9):
        np.testing.assert_array_equal(ends.logits(hidden[row : row + 1])[0], together[row])


def test_damaged_ends_are_refused(tmp_path: Path):
    store = tiny_store(tmp_path, "llama")
    (store.folder / ENDS_FILE).write_bytes(b"")

    with pytest.raises(StoreError, match=r"ends.safetensors has 0 bytes"):
        ClientEnds.load(store)


@pytest.mark.parametrize("kind", [TorchInt8Matrix, int8_matrix])
def test_the_head_product_is_that_of_the_dequantized_rows(kind: object):
    """Both kernels, within their roundings."""
    random = np.random.default_rng(0)
    rows, scales = quantize_rows(random.standard_normal((300, 64)).astype(np.float32))
    x = random.standard_normal((5, 64)).astype(np.float32)
    product = kind(rows, scales).multiply(x)  # type: ignore[operator]

    assert product.dtype == np.float32
    assert relative_difference(product, x @ dequantize_rows(rows, scales).T) < 1e-2

"""Embeddings and head: what the files hold decides, as in `transformers`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from transformers import AutoModelForCausalLM

from p2pinfer.errors import ModelError
from p2pinfer.model.ends import ClientEnds
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.model.source import convert_model
from tests.model.tiny_models import oracle_run, random_ids, relative_difference, save_tiny_model

EMBEDDINGS, HEAD = "model.embed_tokens.weight", "lm_head.weight"


def folder_with(folder: Path, *, tied: bool, change: dict[str, torch.Tensor | None]) -> Path:
    """A tiny Llama whose config says `tied`; tensors are replaced, or removed with None."""
    save_tiny_model(folder, "llama", tie_word_embeddings=False)
    tensors = safetensors.torch.load_file(folder / "model.safetensors") | change
    kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    safetensors.torch.save_file(kept, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text()) | {"tie_word_embeddings": tied}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def converted(source: Path, out: Path) -> tuple[LayerStore, list[str]]:
    """The store, and what was said on the way."""
    lines: list[str] = []
    return convert_model(str(source), out, lines.append), lines


def check_against_transformers(source: Path, store: LayerStore) -> None:
    """The same embeddings and logits, but for the precision of INT8."""
    model: Any = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()
    into, out, logits = oracle_run(model, random_ids(12))
    ends = ClientEnds.load(store)

    assert relative_difference(ends.embed(random_ids(12)), into) < 2e-2
    assert relative_difference(ends.logits(out), logits) < 2e-2


def another_head() -> torch.Tensor:
    """Weights that nothing else has."""
    return torch.from_numpy(np.random.default_rng(3).normal(0, 0.2, (160, 32))).to(torch.bfloat16)


def test_a_head_that_differs_from_the_embeddings_is_used_though_the_config_ties_them(tmp_path: Path):
    """With a word: the owner of the model may want to correct its config."""
    source = folder_with(tmp_path / "m", tied=True, change={HEAD: another_head()})
    store, lines = converted(source, tmp_path / "out")

    assert store.config_fields["tie_word_embeddings"] is False
    assert any("says tie_word_embeddings" in line and "lm_head.weight" in line for line in lines)
    check_against_transformers(source, store)


def test_a_head_that_differs_in_one_number_is_another_head(tmp_path: Path):
    """A fine-tuning may change a single row."""
    save_tiny_model(tmp_path / "m", "llama", tie_word_embeddings=False)
    head = safetensors.torch.load_file(tmp_path / "m" / "model.safetensors")[EMBEDDINGS].clone()
    head[159, 31] += 1
    source = folder_with(tmp_path / "m", tied=True, change={HEAD: head})

    assert converted(source, tmp_path / "out")[0].config_fields["tie_word_embeddings"] is False


def test_a_head_that_equals_the_embeddings_is_stored_once(tmp_path: Path):
    """Some programs write both. Nothing is said."""
    save_tiny_model(tmp_path / "m", "llama", tie_word_embeddings=False)
    head = safetensors.torch.load_file(tmp_path / "m" / "model.safetensors")[EMBEDDINGS].clone()
    source = folder_with(tmp_path / "m", tied=True, change={HEAD: head})
    store, lines = converted(source, tmp_path / "out")

    assert store.config_fields["tie_word_embeddings"] is True
    assert "lm_head.weight" not in store.ends_tensors()
    assert not any("head" in line for line in lines)
    check_against_transformers(source, store)


def test_a_tied_model_whose_file_has_only_the_head_embeds_with_it(tmp_path: Path):
    """`transformers` ties to the tensor that is there, whichever it is."""
    source = folder_with(tmp_path / "m", tied=True, change={HEAD: another_head(), EMBEDDINGS: None})
    store, _ = converted(source, tmp_path / "out")

    assert store.config_fields["tie_word_embeddings"] is True
    check_against_transformers(source, store)


def test_an_untied_model_without_a_head_is_refused(tmp_path: Path):
    """`transformers` would make up a random one."""
    source = folder_with(tmp_path / "m", tied=False, change={HEAD: None})

    with pytest.raises(ModelError, match=r"lacks lm_head.weight: its files don't fit its config"):
        converted(source, tmp_path / "out")


@pytest.mark.parametrize("tied", [True, False])
def test_a_head_of_another_size_is_refused(tmp_path: Path, tied: bool):
    """More rows than tokens, say."""
    source = folder_with(tmp_path / "m", tied=tied, change={HEAD: torch.ones(170, 32)})

    with pytest.raises(ModelError, match=r"lm_head.weight has the shape \(170, 32\), the config says"):
        converted(source, tmp_path / "out")


@pytest.mark.parametrize("tied", [True, False])
def test_a_model_without_embeddings_and_head_is_refused(tmp_path: Path, tied: bool):
    source = folder_with(tmp_path / "m", tied=tied, change={HEAD: None, EMBEDDINGS: None})

    with pytest.raises(ModelError, match=r"lacks embed_tokens.weight"):
        converted(source, tmp_path / "out")


def test_an_untied_model_with_both_uses_both(tmp_path: Path):
    """The usual case."""
    source = folder_with(tmp_path / "m", tied=False, change={})
    store, lines = converted(source, tmp_path / "out")

    assert not any("head" in line for line in lines)
    check_against_transformers(source, store)

"""Which layers slide: what AutoConfig of `transformers` says of the same config.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from p2pinfer.errors import ModelError
from p2pinfer.model.engine import load_engine
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.model.source import convert_model
from tests.model.tiny_models import (
    WINDOW,
    oracle_run,
    random_ids,
    relative_difference,
    run_in_pieces,
    save_tiny_model,
)

FULL, SLIDING = "full_attention", "sliding_attention"
MIXED = [FULL, SLIDING, SLIDING, FULL]
ABSENT = object()


def folder_with(folder: Path, model_type: str, fields: dict[str, Any]) -> Path:
    """A tiny model with these fields in its config.json; ABSENT leaves one out."""
    plain = {"attention_bias": False, "mlp_bias": False} if model_type == "llama" else {}
    save_tiny_model(folder, model_type, tie_word_embeddings=False, **plain)
    config = {**json.loads((folder / "config.json").read_text()), "layer_types": ABSENT, **fields}
    written = {name: value for name, value in config.items() if value is not ABSENT}
    (folder / "config.json").write_text(json.dumps(written))
    return folder


def converted(source: Path, out: Path) -> LayerStore:
    """The folder as a store."""
    return convert_model(str(source), out, lambda line: None)


ROWS: list[tuple[str, dict[str, Any]]] = [
    ("mistral", {"layer_types": MIXED}),
    ("mistral", {"layer_types": [FULL] * 4}),
    ("mistral", {"layer_types": [SLIDING] * 4}),
    ("mistral", {"layer_types": ["attention", SLIDING, FULL, FULL]}),  # an old word for full attention
    ("mistral", {"layer_types": None}),
    ("mistral", {}),
    ("mistral", {"sliding_window": None}),
    ("llama", {"layer_types": MIXED, "sliding_window": WINDOW}),  # a Llama doesn't slide
    ("llama", {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 0}),
    *(
        (family, {"use_sliding_window": used, "sliding_window": WINDOW, "max_window_layers": layers, **types})
        for family in ("qwen2", "qwen3")
        for used, layers, types in (
            (True, 2, {}),
            (True, 0, {}),
            (True, 9, {}),
            (False, 0, {}),
            (True, 0, {"layer_types": MIXED}),
            (True, 2, {"layer_types": [FULL] * 4}),
            (False, 2, {"layer_types": [FULL] * 4}),
        )
    ),
    ("qwen2", {"use_sliding_window": True, "sliding_window": None}),
]


@pytest.mark.parametrize(("model_type", "fields"), ROWS)
def test_both_engines_slide_where_auto_config_slides(tmp_path: Path, model_type: str, fields: dict[str, Any]):
    """A layer that slides by mistake, or doesn't, differs by more than a tenth."""
    source = folder_with(tmp_path / "m", model_type, fields)
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, attn_implementation="eager")
    into, expected, _ = oracle_run(model.eval(), random_ids(23))
    store = converted(source, tmp_path / "out")

    for engine in ("reference", "native"):
        found = run_in_pieces(load_engine(store, store.span, engine=engine), into, [23])
        assert relative_difference(found, expected) < 0.06, engine


def test_a_mistral_with_layer_types_is_a_ministral(tmp_path: Path):
    """As for AutoConfig. Readers of the store find the type that they need."""
    source = folder_with(tmp_path / "m", "mistral", {"layer_types": MIXED, "head_dim": None})
    store = converted(source, tmp_path / "out")

    assert store.manifest.model_type == AutoConfig.from_pretrained(source).model_type == "ministral"
    assert store.config_fields["layer_types"] == MIXED
    assert store.config_fields["head_dim"] == 8


def test_the_rows_tell_sliding_layers_from_full_ones(tmp_path: Path):
    """Otherwise the comparisons above would say little."""
    source = folder_with(tmp_path / "m", "mistral", {"layer_types": MIXED})
    slides = converted(source, tmp_path / "out")
    into = np.random.default_rng(0).normal(size=(23, 32)).astype(np.float32)
    found = run_in_pieces(load_engine(slides, slides.span), into, [23])
    for types in ([FULL] * 4, [SLIDING] * 4):
        other = converted(
            folder_with(tmp_path / types[0], "mistral", {"layer_types": types}), tmp_path / f"{types[0]}-out"
        )
        same_input = run_in_pieces(load_engine(other, other.span), into, [23])
        assert relative_difference(same_input, found) > 0.1


@pytest.mark.parametrize(
    ("model_type", "fields", "message"),
    [
        (
            "mistral",
            {"layer_types": [FULL, SLIDING]},
            r"must be equal to the number of `layer_types` \(2\)",
        ),
        ("mistral", {"layer_types": []}, "must be equal to the number of `layer_types`"),
        ("llama", {"layer_types": [FULL]}, "must be equal to the number of `layer_types`"),
        ("qwen2", {"layer_types": [FULL] * 5}, "must be equal to the number of `layer_types`"),
        (
            "mistral",
            {"layer_types": [FULL, "local", FULL, FULL]},
            "`layer_types` entries must be .*'local'",
        ),
        ("qwen3", {"layer_types": [FULL, "x", FULL, FULL]}, "`layer_types` entries must be in .*'x'"),
        ("mistral", {"layer_types": [FULL, "linear_attention"] * 2}, "layer_types names 'linear_attention'"),
        ("qwen2", {"layer_types": ["chunked_attention"] * 4}, "layer_types names 'chunked_attention'"),
        ("mistral", {"layer_types": "full"}, "'layer_types' with value 'full'"),
        ("mistral", {"layer_types": MIXED, "sliding_window": None}, "has no sliding_window"),
        ("qwen2", {"layer_types": MIXED, "use_sliding_window": False}, r"off \(use_sliding_window\)"),
        ("smollm3", {"layer_types": MIXED, "sliding_window": 5}, r"off \(use_sliding_window\)"),
        ("mistral", {"sliding_window": 0}, "sliding_window is 0"),
        ("mistral", {"sliding_window": -1}, "sliding_window is -1"),
    ],
)
def test_layer_types_that_can_not_be_run_are_refused_by_name(
    tmp_path: Path, model_type: str, fields: dict[str, Any], message: str
):
    """Of a wrong length, of unknown words, or without the window that they need."""
    source = folder_with(tmp_path / "m", model_type, fields)

    with pytest.raises(ModelError, match=message):
        converted(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()

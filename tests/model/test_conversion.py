"""Converting: sources that are refused, full disks, and how much is held in memory."""

from __future__ import annotations

import json
import math
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from p2pinfer.errors import ModelError, StoreError, UnsupportedModelError
from p2pinfer.model.conversion import convert
from p2pinfer.model.formats.hf_folder import HfFolder
from p2pinfer.model.layer_store.writer import StoreWriter
from p2pinfer.model.quantization import quantize_rows
from p2pinfer.model.source import convert_model, open_model
from tests.model.tiny_models import save_tiny_model


def silent(line: str) -> None:
    """Progress that nobody reads."""


def edit_config(folder: Path, **fields: object) -> None:
    """Overwrite fields of config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def edit_weights(folder: Path, **changes: torch.Tensor | None) -> None:
    """Replace tensors of model.safetensors, or remove them with None; `__` in a name stands for a dot."""
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    for name, tensor in changes.items():
        tensors.pop(name.replace("__", "."))
        if tensor is not None:
            tensors[name.replace("__", ".")] = tensor
    safetensors.torch.save_file(tensors, folder / "model.safetensors")


def test_every_weight_is_the_quantized_original(tmp_path: Path):
    """Layer by layer, embeddings and head included."""
    source = save_tiny_model(tmp_path / "m", "llama")
    original = safetensors.torch.load_file(source / "model.safetensors")
    store = convert_model(str(source), tmp_path / "out", silent)
    rows, scales = quantize_rows(original["model.layers.3.mlp.up_proj.weight"].float().numpy())
    tensors = store.layer_tensors(3)

    np.testing.assert_array_equal(tensors["mlp.up_proj.weight"], rows)
    np.testing.assert_array_equal(tensors["mlp.up_proj.weight_scale"], scales)
    head, _ = quantize_rows(original["lm_head.weight"].float().numpy())
    np.testing.assert_array_equal(store.ends_tensors()["lm_head.weight"], head)
    np.testing.assert_array_equal(store.ends_tensors()["norm.weight"], original["model.norm.weight"].float())


def test_weights_spread_over_several_files_are_found(tmp_path: Path):
    source = save_tiny_model(tmp_path / "m", "llama")
    whole = convert_model(str(source), tmp_path / "whole", silent)
    tensors = safetensors.torch.load_file(source / "model.safetensors")
    (source / "model.safetensors").unlink()
    index = {name: f"model-0000{number % 2}-of-00002.safetensors" for number, name in enumerate(tensors)}
    for file in set(index.values()):
        safetensors.torch.save_file({n: t for n, t in tensors.items() if index[n] == file}, source / file)
    (source / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))

    assert convert_model(str(source), tmp_path / "parts", silent).manifest.hash == whole.manifest.hash


@pytest.mark.parametrize("prefix", ["language_model.model.", "model.language_model."])
def test_the_text_part_of_a_vision_model_is_converted(tmp_path: Path, prefix: str):
    """Gemma 3's published folders also hold a vision tower, with two naming schemes."""
    source = save_tiny_model(tmp_path / "m", "gemma3_text")
    plain = convert_model(str(source), tmp_path / "plain", silent)
    tensors = safetensors.torch.load_file(source / "model.safetensors")
    renamed = {name.replace("model.", prefix, 1): tensor for name, tensor in tensors.items()}
    renamed["vision_tower.vision_model.encoder.layers.0.mlp.fc1.weight"] = torch.ones(2, 2)
    safetensors.torch.save_file(renamed, source / "model.safetensors")
    text = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({"model_type": "gemma3", "text_config": text}))
    store = convert_model(str(source), tmp_path / "vision", silent)

    assert store.manifest.model_type == "gemma3_text"
    assert store.manifest.hash == plain.manifest.hash


def test_pickled_weights_are_refused_with_the_reason(tmp_path: Path):
    source = save_tiny_model(tmp_path / "m", "llama")
    (source / "model.safetensors").rename(source / "pytorch_model.bin")

    with pytest.raises(ModelError, match=r"pickled weights \(pytorch_model.bin\).*can run any program"):
        convert_model(str(source), tmp_path / "out", silent)


def test_an_unsupported_architecture_is_refused_before_anything_is_written(tmp_path: Path):
    source = save_tiny_model(tmp_path / "m", "llama")
    edit_config(source, model_type="mamba")

    with pytest.raises(UnsupportedModelError, match="it runs gemma"):
        convert_model(str(source), tmp_path / "out", silent)
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_model_that_is_quantized_already_is_refused(tmp_path: Path):
    source = save_tiny_model(tmp_path / "m", "llama")
    edit_config(source, quantization_config={"quant_method": "gptq"})

    with pytest.raises(ModelError, match="quantized already; convert from the original"):
        convert_model(str(source), tmp_path / "out", silent)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model__layers__2__mlp__up_proj__weight": None}, "lacks layers.2.mlp.up_proj.weight"),
        (
            {"model__norm__weight": torch.ones(31)},
            r"norm.weight has the shape \(31,\), the config",
        ),
        ({"model__norm__weight": torch.ones(32, dtype=torch.int8)}, "stored as I8"),
        ({"lm_head__weight": torch.full((160, 32), torch.nan)}, "not a finite number"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    tmp_path: Path, changes: dict[str, torch.Tensor | None], message: str
):
    """The message names the tensor, and no files are left."""
    source = save_tiny_model(tmp_path / "m", "llama")
    edit_weights(source, **changes)

    with pytest.raises(ModelError, match=message):
        convert_model(str(source), tmp_path / "out", silent)
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


LAYER = "model.layers.2."


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize(
    "name",
    [
        "model.embed_tokens.weight",
        "model.norm.weight",
        "lm_head.weight",
        f"{LAYER}input_layernorm.weight",
        f"{LAYER}post_attention_layernorm.weight",
        f"{LAYER}self_attn.k_proj.bias",
        f"{LAYER}self_attn.o_proj.weight",
        f"{LAYER}mlp.down_proj.weight",
        f"{LAYER}mlp.gate_proj.bias",
    ],
)
def test_one_value_that_is_not_a_finite_number_ends_the_conversion(tmp_path: Path, name: str, value: float):
    """Wherever it lies. The message names the tensor."""
    source = save_tiny_model(tmp_path / "m", "llama")
    tensors = safetensors.torch.load_file(source / "model.safetensors")
    tensors[name].view(-1)[-1] = value
    safetensors.torch.save_file(tensors, source / "model.safetensors")

    with pytest.raises(ModelError, match=rf"{name.removeprefix('model.')}.*not a finite number"):
        convert_model(str(source), tmp_path / "out", silent)
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize("model_type", ["qwen3", "gemma2", "starcoder2"])
def test_norms_of_every_kind_are_checked(tmp_path: Path, model_type: str):
    """Of queries and keys, before and after, with a bias."""
    source = save_tiny_model(tmp_path / "m", model_type)
    whole = safetensors.torch.load_file(source / "model.safetensors")
    norms = [name for name in whole if "norm" in name and ("layers.1." in name or "layers" not in name)]
    for number, name in enumerate(norms):
        broken = {**whole, name: whole[name].clone()}
        broken[name][0] = math.inf
        safetensors.torch.save_file(broken, source / "model.safetensors")
        with pytest.raises(ModelError, match="not a finite number"):
            convert_model(str(source), tmp_path / f"out{number}", silent)

    assert len(norms) >= 5


def test_a_number_too_large_for_float32_is_not_a_finite_number(tmp_path: Path):
    """A file in float64 may hold it."""
    source = save_tiny_model(tmp_path / "m", "llama")
    edit_weights(source, model__norm__weight=torch.full((32,), 1e300, dtype=torch.float64))

    with pytest.raises(ModelError, match=r"norm.weight.*not a finite number"):
        convert_model(str(source), tmp_path / "out", silent)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rms_norm_eps": math.nan}, "rms_norm_eps is nan"),
        ({"rope_parameters": {"rope_theta": math.inf, "rope_type": "default"}}, "rope_theta is inf"),
        (
            {"rope_parameters": {"rope_theta": 1e4, "rope_type": "linear", "factor": math.nan}},
            "factor is nan",
        ),
    ],
)
def test_a_config_with_a_number_that_is_not_finite_is_refused(
    tmp_path: Path, fields: dict[str, object], message: str
):
    """JSON as Python writes it may hold NaN and Infinity."""
    source = save_tiny_model(tmp_path / "m", "llama")
    edit_config(source, **fields)

    with pytest.raises(ModelError, match=message):
        convert_model(str(source), tmp_path / "out", silent)


@pytest.mark.parametrize("damage", ["cut", "empty", "config", "tokenizer", "gone"])
def test_a_damaged_folder_is_one_clear_error(tmp_path: Path, damage: str):
    source = save_tiny_model(tmp_path / "m", "llama")
    weights = source / "model.safetensors"
    match damage:
        case "cut":
            weights.write_bytes(weights.read_bytes()[:-100])
        case "empty":
            weights.write_bytes(b"")
        case "config":
            (source / "config.json").write_text("{")
        case "tokenizer":
            for path in source.glob("tokenizer*"):
                path.unlink()
        case "gone":
            weights.unlink()

    with pytest.raises(ModelError):
        convert_model(str(source), tmp_path / "out", silent)
    assert not (tmp_path / "out").exists()


@contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    """No file may grow beyond this: what a full disk looks like to a program, without filling one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_is_too_small_is_noticed_before_anything_is_converted(tmp_path: Path):
    """The message names the bytes needed and free."""
    with pytest.raises(StoreError, match=r"needs 1,152,921,504,606,846,976 bytes and .* has [\d,]+ free"):
        StoreWriter(tmp_path, 1 << 60)


@pytest.mark.parametrize("size_bytes", [100, 8000])
def test_a_disk_that_fills_up_while_converting_leaves_nothing(tmp_path: Path, size_bytes: int):
    """The disk is too small for the tokenizer, or for a layer."""
    source = save_tiny_model(tmp_path / "m", "llama")
    (source / "tokenizer.json").write_text("x" * 200)
    with largest_file(size_bytes), pytest.raises(StoreError, match=r"disk is too full.*needs [\d,]+ bytes"):
        open_model(str(source), cache_folder=tmp_path / "cache", progress=silent)
    left = [path.name for path in (tmp_path / "cache").iterdir() if path.is_dir()]
    store = open_model(str(source), cache_folder=tmp_path / "cache", progress=silent)

    assert left == []
    store.verify()


def test_a_folder_that_can_not_be_written_is_one_clear_error(tmp_path: Path):
    source = save_tiny_model(tmp_path / "m", "llama")
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreError, match="can't be written"):
        open_model(str(source), cache_folder=tmp_path / "file" / "cache", progress=silent)


def test_memory_stays_far_below_the_model(tmp_path: Path):
    """A model of 80 MB needs a few MB besides the libraries: one layer, or one block of rows."""
    source = save_tiny_model(
        tmp_path / "m",
        "llama",
        hidden_size=512,
        intermediate_size=2048,
        num_hidden_layers=6,
        vocab_size=16384,
    )
    program = (
        "import resource, sys, torch; from pathlib import Path\n"
        "from p2pinfer.model import families, source as s\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "opened = s.open_source(sys.argv[1], Path(sys.argv[1]), print); \n"
        "config = families.transformers_config(opened.config)\n"
        "from p2pinfer.model.blueprint import blueprint; blueprint(config, 0); before = peak()\n"
        "s.convert(opened, Path(sys.argv[2]), print); print(peak() - before)"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program, source, tmp_path / "out"], capture_output=True, text=True, check=True
    ).stdout
    model_kb = (source / "model.safetensors").stat().st_size // 1024

    assert model_kb > 70_000
    assert int(printed.split()[-1]) < model_kb // 2


def test_progress_says_what_is_converted_and_how_far(tmp_path: Path):
    lines: list[str] = []
    source = HfFolder(save_tiny_model(tmp_path / "m", "llama"), "tiny")
    convert(source, tmp_path / "out", lines.append)

    assert lines[0] == "reading tiny"
    assert lines[1].startswith("converting tiny: llama, 4 layers")
    assert lines[2] == "converting layers 0 to 3"

"""A model on the hub gives the same store as its folder, and only the bytes that are needed are read."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from p2pinfer.errors import ModelError
from p2pinfer.model.conversion import convert
from p2pinfer.model.formats.hf_folder import HfFolder
from p2pinfer.model.formats.hub import model as hub_model
from p2pinfer.model.formats.hub.model import HubModel
from p2pinfer.model.formats.hub.received import ReceivedLines
from p2pinfer.model.formats.hub.repository import find_repository
from p2pinfer.model.layer_store.origin import Origin
from tests.model.formats.hub.loopback_hub import COMMIT, LoopbackHub
from tests.model.tiny_models import save_tiny_model


def silent(line: str) -> None:
    """Progress that nobody reads."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_tiny_model(tmp_path / "model", "llama")


@pytest.fixture
def hub(folder: Path) -> Iterator[LoopbackHub]:
    with LoopbackHub({"some/tiny": folder}) as running:
        yield running


def opened(hub: LoopbackHub, **options: object) -> HubModel:
    return HubModel(find_repository("some/tiny", endpoint=hub.endpoint), silent, **options)


def in_shards(folder: Path, count: int) -> None:
    """Spread the weights over files, as large models are published."""
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    files = [f"model-{number + 1:05d}-of-{count:05d}.safetensors" for number in range(count)]
    index = {name: files[number * count // len(tensors)] for number, name in enumerate(sorted(tensors))}
    for file in files:
        kept = {name: tensor for name, tensor in tensors.items() if index[name] == file}
        safetensors.torch.save_file(kept, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))


@pytest.mark.parametrize("model_type", ["llama", "qwen3", "starcoder2"])
def test_the_store_is_that_of_the_folder(tmp_path: Path, model_type: str):
    """File by file: the hash is over all of them."""
    folder = save_tiny_model(tmp_path / "m", model_type)
    in_shards(folder, 3)
    with LoopbackHub({"some/tiny": folder}) as hub:
        one = convert(opened(hub), tmp_path / "hub", silent)
    other = convert(HfFolder(folder, "tiny"), tmp_path / "folder", silent)

    assert one.hash == other.hash
    assert one.name == "some/tiny"


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_numbers_of_every_type_are_the_same_as_from_the_folder(
    hub: LoopbackHub, folder: Path, dtype: torch.dtype
):
    """Bit by bit, small ones and large ones too."""
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    values = torch.randn(160, 32, dtype=torch.float64) * torch.logspace(-12, 12, 32, dtype=torch.float64)
    tensors["lm_head.weight"] = values.to(dtype)
    safetensors.torch.save_file(tensors, folder / "model.safetensors")
    found = opened(hub).rows("lm_head.weight", 3, 150)
    expected = HfFolder(folder, "tiny").rows("lm_head.weight", 3, 150)

    assert found.dtype == np.float32
    assert found.tobytes() == expected.tobytes()


def test_rows_are_fetched_and_nothing_else(hub: LoopbackHub):
    source = opened(hub)
    hub.weights_asked.clear()
    source.rows("layers.2.mlp.up_proj.weight", 10, 20)
    source.rows("layers.2.input_layernorm.weight", 0, 32)
    places = source.origin.tensors
    up, norm = places["layers.2.mlp.up_proj.weight"], places["layers.2.input_layernorm.weight"]

    assert [(asked.start, asked.end) for asked in hub.weights_asked] == [
        (up.start + 10 * 32 * 2, up.start + 20 * 32 * 2),
        (norm.start, norm.end),
    ]


def test_received_bytes_are_told(hub: LoopbackHub):
    """All of them: headers and small files, too."""
    counts: list[int] = []
    source = opened(hub, on_received=counts.append)
    before = sum(counts)
    source.rows("layers.2.mlp.up_proj.weight", 0, 80)

    assert before > 0
    assert sum(counts) - before == 80 * 32 * 2


def test_a_line_says_how_much_came_and_how_fast():
    lines: list[str] = []
    now = [100.0]
    received = ReceivedLines(lines.append, clock=lambda: now[0])
    received.add(5_000_000)
    now[0] += 10
    received.add(15_000_000)
    received.add(1)

    assert lines == ["received 20 MB from the hub, 2.0 MB/s"]


def test_the_origin_says_where_every_tensor_lies(hub: LoopbackHub, folder: Path):
    (folder / "README.md").write_text("---\ntags:\n- x\nlicense: apache-2.0\n---\n# A model\n")
    origin = opened(hub).origin
    data = (folder / "model.safetensors").read_bytes()
    place = origin.tensors["layers.1.mlp.up_proj.weight"]
    stored = safetensors.torch.load(data)["model.layers.1.mlp.up_proj.weight"]

    assert (origin.hub_id, origin.revision, origin.licence) == ("some/tiny", COMMIT, "apache-2.0")
    assert origin.format == "safetensors BF16"
    assert data[place.start : place.end] == stored.view(torch.uint8).numpy().tobytes()
    assert Origin.from_json(json.loads(json.dumps(origin.to_json()))) == origin


def test_the_folder_says_the_same_but_for_the_hub(hub: LoopbackHub, folder: Path):
    origin = HfFolder(folder, "tiny").origin

    assert origin.tensors == opened(hub).origin.tensors
    assert (origin.format, origin.hub_id, origin.revision) == ("safetensors BF16", None, None)


def test_a_long_header_takes_a_second_question(
    hub: LoopbackHub, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(hub_model, "FIRST_READ_BYTES", 100)

    assert opened(hub).shapes == HfFolder(folder, "tiny").shapes
    assert hub.sent_bytes < 10_000


def header(**tensors: object) -> bytes:
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"abc",
        struct.pack("<Q", 1 << 63) + b"{}",
        struct.pack("<Q", 100) + b"{}",
        struct.pack("<Q", 0) + b"{}",
        struct.pack("<Q", 60_000) + b"[" * 60_000,
        struct.pack("<Q", 2) + b"[]",
        header(**{"norm.weight": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}),
        header(**{"norm.weight": {"dtype": "F32", "shape": [-4], "data_offsets": [0, 0]}}) + bytes(16),
        header(**{"norm.weight": {"dtype": "F32", "shape": [4], "data_offsets": [-16, 0]}}) + bytes(16),
        header(**{"norm.weight": {"dtype": "F32", "shape": [1 << 60], "data_offsets": [0, 16]}}) + bytes(16),
        header(**{"norm.weight": {"dtype": "F32", "shape": [4], "data_offsets": [0]}}) + bytes(16),
        header(**{"norm.weight": {"dtype": "I8", "shape": [4], "data_offsets": [0, 4]}}) + bytes(16),
        header(**{"norm.weight": 3}),
    ],
)
def test_a_hostile_header_is_one_clear_error(hub: LoopbackHub, folder: Path, content: bytes):
    (folder / "model.safetensors").write_bytes(content)

    with pytest.raises(ModelError, match=r"model\.safetensors"):
        opened(hub)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", None, "it has no config.json"),
        ("config.json", "{", "config.json of some/tiny is not JSON"),
        ("config.json", "[" * 100_000, "config.json of some/tiny is not JSON"),
        ("config.json", "[]", "holds no JSON object"),
        ("config.json", '{"quantization_config": {}}', "quantized already"),
        ("model.safetensors.index.json", '{"weight_map": {"a": "../../x.safetensors"}}', "no x.safetensors"),
        ("model.safetensors.index.json", '{"weight_map": 3}', "no list of files"),
        ("model.safetensors", None, "has no model.safetensors"),
    ],
)
def test_files_that_are_wrong_are_named(
    hub: LoopbackHub, folder: Path, file: str, content: str | None, message: str
):
    (folder / file).unlink() if content is None else (folder / file).write_text(content)

    with pytest.raises(ModelError, match=message):
        opened(hub)


def test_pickled_weights_are_refused_with_the_reason(hub: LoopbackHub, folder: Path):
    os.rename(folder / "model.safetensors", folder / "pytorch_model.bin")

    with pytest.raises(ModelError, match=r"pickled weights \(pytorch_model.bin\)"):
        opened(hub)


def test_a_model_without_a_tokenizer_is_refused(hub: LoopbackHub, folder: Path, tmp_path: Path):
    (folder / "tokenizer.json").unlink()

    with pytest.raises(ModelError, match="some/tiny has no tokenizer"):
        convert(opened(hub), tmp_path / "out", silent)

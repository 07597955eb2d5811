"""The layer store on disk: what its hash covers, and that altered files are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from p2pinfer.errors import StoreError
from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.model.layer_store.names import CONFIG_FILE, ENDS_FILE, MANIFEST_FILE, layer_file
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.model.layer_store.tensors import read_tensors, write_tensors
from p2pinfer.model.layer_store.writer import StoreWriter
from p2pinfer.model.source import convert_model
from p2pinfer.types import Span
from tests.model.tiny_models import NUM_LAYERS, save_tiny_model, tiny_store


@pytest.fixture
def store(tmp_path: Path) -> LayerStore:
    """A tiny model's store."""
    return tiny_store(tmp_path, "llama")


def edit_manifest(folder: Path, **fields: Any) -> None:
    """Overwrite fields of manifest.json."""
    path = folder / MANIFEST_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_a_layer_holds_int8_rows_scales_and_float32_for_the_rest(store: LayerStore):
    """Under the names that transformers gives its parameters."""
    tensors = store.layer_tensors(2)

    assert tensors["self_attn.k_proj.weight"].dtype == np.int8
    assert tensors["self_attn.k_proj.weight"].shape == (16, 32)
    assert tensors["self_attn.k_proj.weight_scale"].dtype == np.float32
    assert tensors["self_attn.k_proj.weight_scale"].shape == (16,)
    assert tensors["self_attn.k_proj.bias"].dtype == np.float32
    assert tensors["input_layernorm.weight"].dtype == np.float32


def test_store_files_are_ordinary_safetensors(store: LayerStore):
    """Other tools can read them."""
    loaded = safetensors.numpy.load_file(store.folder / layer_file(0))
    own = store.layer_tensors(0)

    assert loaded.keys() == own.keys()
    for name, tensor in loaded.items():
        np.testing.assert_array_equal(tensor, own[name])


def test_the_hash_is_that_of_the_model_not_of_its_place_or_name(tmp_path: Path):
    """Two people convert the same model under different names in different folders."""
    one = tiny_store(tmp_path / "one", "qwen3")
    source = save_tiny_model(tmp_path / "other-name", "qwen3")
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(config | {"transformers_version": "4.0"}))
    other = convert_model(str(source), tmp_path / "elsewhere", lambda line: None)

    assert other.manifest.name != one.manifest.name
    assert other.manifest.hash == one.manifest.hash


def test_every_file_that_strangers_may_send_is_part_of_the_identity(tmp_path: Path):
    """A tokenizer says what token ids mean, and generation_config.json where an answer ends."""
    hashes = []
    changes = [("tokenizer.json", "{}"), ("generation_config.json", '{"eos_token_id": 3}')]
    for number, (file, text) in enumerate([*changes, ("generation_config.json", "{}")]):
        source = save_tiny_model(tmp_path / str(number), "qwen3")
        (source / file).write_text(text)
        store = convert_model(str(source), tmp_path / f"out{number}", lambda line: None)
        hashes.append(store.manifest.hash)

    assert len(set(hashes)) == 3


def test_a_moved_store_is_the_same_model(store: LayerStore, tmp_path: Path):
    """Users copy stores."""
    moved = shutil.move(store.folder, tmp_path / "moved")

    assert LayerStore.open(Path(moved)).manifest == store.manifest


def test_a_folder_without_a_manifest_is_no_store(tmp_path: Path):
    """The message names the folder."""
    with pytest.raises(StoreError, match=f"{tmp_path} is no layer store"):
        LayerStore.open(tmp_path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"format": "p2pinfer-int8-0"}, "format 'p2pinfer-int8-0'.*convert again"),
        ({"num_layers": NUM_LAYERS + 1}, "does not list layers/00004.safetensors"),
        ({"num_layers": 10**9}, "claims 1000000000 layers"),
        ({"num_layers": True}, "num_layers is missing or no int"),
        ({"hidden_size": -1}, "hidden_size must be positive"),
        ({"name": 7}, "name is missing or no str"),
        ({"hash": "0" * 64}, "hash does not fit"),
        ({"manifest": 2}, "version 2.*convert again"),
        ({"name": "x" * 129}, "name is too long"),
        ({"name": "a\nb"}, "not printable"),
        ({"files": {"../../etc/passwd": {"sha256": "0" * 64, "bytes": 1}}}, "that a store doesn't have"),
        ({"files": {"modeling.py": {"sha256": "0" * 64, "bytes": 1}}}, "that a store doesn't have"),
        ({"files": {"layers/00004.safetensors": {}}}, "that a store doesn't have"),
        ({"files": {f"{number}": {} for number in range(99)}}, "lists 99 files for 4 layers"),
        ({"files": {"config.json": {"sha256": "zz", "bytes": 1, "chunks": "0" * 64}}}, "malformed"),
        ({"files": {"config.json": {"sha256": "0" * 64, "bytes": 1, "chunks": "z" * 64}}}, "malformed"),
        ({"files": {"config.json": {"sha256": "0" * 64, "bytes": 1, "chunks": ""}}}, "number of chunks"),
        ({"files": {"config.json": {"sha256": "0" * 64, "bytes": 1 << 40, "chunks": ""}}}, "can't have"),
        ({"files": {"config.json": {"sha256": "0" * 64, "bytes": -1, "chunks": ""}}}, "can't have"),
        ({"files": {"config.json": 3}}, "no object"),
        ({"origin": []}, "origin is no object"),
        ({"origin": {"hub_id": "../x"}}, "no id of a model"),
        ({"origin": {"hub_id": "http://x/y"}}, "no id of a model"),
        ({"origin": {"revision": "main"}}, "no commit"),
        ({"origin": {"licence": 3}}, "no short text"),
        ({"origin": {"tensors": {"a": ["../b", 0, 1]}}}, "without a proper place"),
        ({"origin": {"tensors": {"a": ["b", 2, 1]}}}, "without a proper place"),
        ({"origin": {"tensors": {"a": ["b", True, 1]}}}, "without a proper place"),
        ({"origin": {"tensors": {"a/b": ["b", 0, 1]}}}, "impossible name"),
        ({"model_type": "mistral"}, "describe different models"),
    ],
)
def test_a_manifest_that_can_not_be_right_is_refused(store: LayerStore, fields: dict[str, Any], message: str):
    """Before any file that it names is opened."""
    edit_manifest(store.folder, **fields)

    with pytest.raises(StoreError, match=message):
        LayerStore.open(store.folder)


def test_a_manifest_that_is_not_json_is_refused(store: LayerStore):
    """Half a file, a deep nest, bytes."""
    for text in ("{", "[" * 100_000, "\x00"):
        (store.folder / MANIFEST_FILE).write_text(text)
        with pytest.raises(StoreError):
            LayerStore.open(store.folder)


def test_an_altered_config_is_refused_at_once(store: LayerStore):
    """A changed epsilon would silently change every answer."""
    path = store.folder / CONFIG_FILE
    path.write_text(path.read_text().replace("1e-06", "1e-05"))

    with pytest.raises(StoreError, match=r"config.json was altered"):
        LayerStore.open(store.folder)


@pytest.mark.parametrize("name", [layer_file(1), ENDS_FILE, "tokenizer.json"])
def test_verify_finds_every_altered_and_missing_file(store: LayerStore, name: str):
    """One bit, one byte more, or all of it."""
    path = store.folder / name
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(StoreError, match="was altered"):
        store.verify()
    path.write_bytes(data + b" ")
    with pytest.raises(StoreError, match="bytes, the manifest says"):
        store.verify()
    path.unlink()
    with pytest.raises(StoreError, match="can't be read"):
        store.verify()


def test_verifying_a_span_reads_that_span_only(store: LayerStore):
    """A server needs no other layers."""
    (store.folder / layer_file(0)).unlink()
    store.verify(Span(1, 3))

    with pytest.raises(StoreError, match="has layers 0:4, not 3:5"):
        store.verify(Span(3, 5))
    with pytest.raises(StoreError, match="has layers 0:4, not layer 4"):
        store.layer_tensors(4)


def test_the_manifest_reads_back_as_it_was_written(store: LayerStore):
    assert Manifest.from_json(store.manifest.to_json()) == store.manifest


def test_tensors_read_back_as_they_were_written(tmp_path: Path):
    """Empty ones and scalars too."""
    tensors = {
        "a": np.arange(6, dtype=np.int8).reshape(2, 3),
        "b": np.ones(3, np.float32),
        "empty": np.empty((0, 4), np.float32),
        "scalar": np.float32(7) * np.ones((), np.float32),
    }
    read = read_tensors(tmp_path / "file", write_tensors(tmp_path / "file", tensors))

    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(read[name], tensor)
        assert read[name].dtype == tensor.dtype


@pytest.mark.parametrize(
    "header",
    [
        b"not json",
        b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}',
        b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}',
        b'{"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}',
        b'{"a":3}',
        b"[]",
    ],
)
def test_a_malformed_file_is_refused_even_if_the_manifest_lists_it(tmp_path: Path, header: bytes):
    """The store is faulty; nothing is read past the end of the file."""
    writer = StoreWriter(tmp_path, 0)
    (tmp_path / "file").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    writer.add_written("file")

    with pytest.raises(StoreError, match="is no layer-store file"):
        read_tensors(tmp_path / "file", writer.entries["file"])

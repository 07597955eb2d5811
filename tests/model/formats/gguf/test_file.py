"""GGUF files: tiny ones written here, and the small real one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoTokenizer

from p2pinfer.errors import ModelError, UnsupportedModelError
from p2pinfer.model.formats.gguf.file import GgufFile
from p2pinfer.model.formats.gguf.reader import read_header
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.model.source import convert_model
from tests.model.formats.gguf.tiny_gguf import plain_model, write_gguf


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3"])
def test_a_gguf_file_gives_the_same_layers_as_the_folder_it_was_made_from(tmp_path: Path, architecture: str):
    """Names, the order of rotary rows, biases, norms, tied heads and the config."""
    folder = plain_model(tmp_path / "m", architecture)
    write_gguf(folder, tmp_path / "m.gguf", architecture)
    one = convert_model(str(folder), tmp_path / "one", lambda line: None)
    other = convert_model(str(tmp_path / "m.gguf"), tmp_path / "other", lambda line: None)
    layers = [name for name in one.manifest.files if name.endswith(".safetensors")]
    ignored = {"head_dim", "initializer_range", "max_window_layers", "sliding_window"}

    assert [one.manifest.files[name] for name in layers] == [other.manifest.files[name] for name in layers]
    assert {k: v for k, v in one.config_fields.items() if k not in ignored} == {
        k: v for k, v in other.config_fields.items() if k not in ignored
    }


def test_a_gguf_files_tokenizer_and_stop_token_come_along(smollm2: LayerStore):
    """The chat form, and the token that ends an answer."""
    tokenizer = AutoTokenizer.from_pretrained(smollm2.folder)
    generation = json.loads((smollm2.folder / "generation_config.json").read_text())
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}], add_generation_prompt=True, tokenize=False
    )

    assert text.endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
    assert tokenizer("Hello world").input_ids == [19556, 905]
    assert generation["eos_token_id"] == tokenizer.eos_token_id == 2
    assert tokenizer.decode([2]) == "<|im_end|>"


def test_the_real_file_converts_to_the_known_model(smollm2: LayerStore):
    """The same hash on every machine: it depends on quantization, byte order and config."""
    assert smollm2.manifest.hash == "82080c8cf8057a8164250c8ded4b2049f8ab48499423b767ff7c807b45c0c9bf"


def test_a_gguf_file_is_called_what_its_file_is_called(smollm2_file: Path):
    """Without the quantization; the name in its metadata is often a training run's."""
    assert GgufFile(smollm2_file).name == "SmolLM2-135M-Instruct"


def test_a_file_with_a_head_of_its_own_uses_it(tmp_path: Path):
    """Its output.weight is another tensor than its embeddings."""
    folder = plain_model(tmp_path / "m", "llama")
    tied = plain_model(tmp_path / "tied", "llama", tie_word_embeddings=True)
    write_gguf(folder, tmp_path / "m.gguf", "llama")
    write_gguf(tied, tmp_path / "tied.gguf", "llama")
    store = convert_model(str(tmp_path / "m.gguf"), tmp_path / "one", lambda line: None)
    other = convert_model(str(tmp_path / "tied.gguf"), tmp_path / "two", lambda line: None)

    assert store.config_fields["tie_word_embeddings"] is False
    assert "lm_head.weight" in store.ends_tensors()
    assert other.config_fields["tie_word_embeddings"] is True
    assert "lm_head.weight" not in other.ends_tensors()


@pytest.mark.parametrize("name", ["blk.0.attn_norm.bias", "blk.3.ffn_gate_inp.weight", "mystery.weight"])
def test_a_tensor_that_would_be_left_out_is_refused_by_name(tmp_path: Path, name: str):
    """A mixture of experts, say. llama.cpp doesn't load such a file either."""
    folder = plain_model(tmp_path / "m", "llama")
    write_gguf(folder, tmp_path / "m.gguf", "llama", tensors={name: np.ones(32, np.float32)})

    with pytest.raises(UnsupportedModelError, match=r"a plain llama model doesn't: "):
        GgufFile(tmp_path / "m.gguf")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"llama.block_count": 0}, "block_count is 0"),
        ({"llama.attention.head_count": "four"}, "head_count is 'four'"),
        ({"llama.attention.layer_norm_rms_epsilon": "small"}, "epsilon is 'small'"),
        ({"llama.context_length": None}, "lacks llama.context_length"),
        (
            {"llama.block_count": 10**9},
            r"block_count is 1,000,000,000, and this file can't have",
        ),
        ({"llama.attention.key_length": 2**31}, r"key_length is 2,147,483,648, and this file can't"),
        ({"llama.embedding_length": 2**30}, "embedding_length is 1,073,741,824"),
        ({"llama.attention.head_count_kv": [4] * 1000}, r"is \[4, 4.{0,80}, not a positive number"),
        ({"general.alignment": 0}, "its alignment is 0"),
        ({"general.alignment": "wide"}, "its alignment is wide"),
        ({"tokenizer.ggml.tokens": [f"<{number}>" for number in range(161)]}, "lists 161 tokens"),
    ],
)
def test_metadata_that_make_no_sense_are_one_clear_error(
    tmp_path: Path, fields: dict[str, Any], message: str
):
    folder = plain_model(tmp_path / "m", "llama")
    fields = {"tokenizer.ggml.token_type": None} | fields
    write_gguf(folder, tmp_path / "m.gguf", "llama", fields)

    with pytest.raises(ModelError, match=message):
        GgufFile(tmp_path / "m.gguf")


def test_a_broken_tokenizer_is_one_clear_error(tmp_path: Path):
    folder = plain_model(tmp_path / "m", "llama")
    write_gguf(folder, tmp_path / "m.gguf", "llama", {"tokenizer.ggml.merges": ["no such"]})

    with pytest.raises(ModelError, match="no tokenizer that can be built"):
        convert_model(str(tmp_path / "m.gguf"), tmp_path / "out", lambda line: None)


def test_rows_are_the_same_however_they_are_read(tmp_path: Path):
    """Large tensors are read in blocks that end inside of a head."""
    folder = plain_model(tmp_path / "m", "llama")
    write_gguf(folder, tmp_path / "m.gguf", "llama")
    source = GgufFile(tmp_path / "m.gguf")
    for name in ("layers.1.self_attn.k_proj.weight", "layers.1.self_attn.q_proj.bias", "norm.weight"):
        whole = source.rows(name, 0, source.shapes[name][0])
        np.testing.assert_array_equal(source.rows(name, 3, 13), whole[3:13])


def test_other_architectures_are_refused_with_the_list(tmp_path: Path):
    """Only architectures that GGUF describes completely are read."""
    folder = plain_model(tmp_path / "m", "llama")
    write_gguf(folder, tmp_path / "m.gguf", "gemma2")

    with pytest.raises(UnsupportedModelError, match=r"GGUF files of llama, qwen2, qwen3, .* 'gemma2'"):
        GgufFile(tmp_path / "m.gguf")


def test_a_gguf_file_cut_anywhere_in_its_header_is_refused(tmp_path: Path):
    folder = plain_model(tmp_path / "m", "llama")
    write_gguf(folder, tmp_path / "m.gguf", "llama")
    data = (tmp_path / "m.gguf").read_bytes()
    for length in (0, 3, 4, 20, 30, 200, 2000):
        (tmp_path / "cut.gguf").write_bytes(data[:length])
        with pytest.raises(ModelError, match="is no complete GGUF file"):
            read_header(tmp_path / "cut.gguf")


def test_a_gguf_file_cut_in_its_weights_is_refused(tmp_path: Path):
    """An interrupted download."""
    folder = plain_model(tmp_path / "m", "llama")
    write_gguf(folder, tmp_path / "m.gguf", "llama")
    data = (tmp_path / "m.gguf").read_bytes()
    (tmp_path / "cut.gguf").write_bytes(data[:-5000])

    with pytest.raises(ModelError, match=r"cut.gguf"):
        convert_model(str(tmp_path / "cut.gguf"), tmp_path / "out", lambda line: None)


def test_a_header_that_claims_too_much_takes_no_memory(tmp_path: Path):
    """A billion entries in a file of a few bytes."""
    (tmp_path / "m.gguf").write_bytes(
        b"GGUF" + (3).to_bytes(4, "little") + (1 << 40).to_bytes(8, "little") * 2
    )

    with pytest.raises(ModelError, match="claims 1099511627776 entries"):
        read_header(tmp_path / "m.gguf")


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        pytest.param((2**40, 8), r"has 35,184,372,088,832 bytes, and the file ends after", id="too large"),
        pytest.param((0, 2**40), "has no numbers", id="empty and wide"),
        pytest.param((2**63, 2**63), "and the file ends after", id="larger than any file"),
    ],
)
def test_a_tensor_that_the_file_does_not_hold_is_refused_before_anything_is_made(
    tmp_path: Path, tensor: tuple[int, int], message: str
):
    """The shape in the table is another one than the bytes' behind it."""
    path = tmp_path / "m.gguf"
    write_gguf(
        plain_model(tmp_path / "m", "llama"), path, "llama", tensors={"mystery": np.ones((7, 11), "f4")}
    )
    shape = b"".join(size.to_bytes(8, "little") for size in (11, 7))
    data = path.read_bytes()
    assert data.count(shape) == 1
    path.write_bytes(data.replace(shape, b"".join(size.to_bytes(8, "little") for size in tensor[::-1])))

    with pytest.raises(ModelError, match=message):
        GgufFile(path)


@pytest.mark.parametrize("kind", [4, 5, 8])
def test_arrays_and_texts_are_not_made_longer_than_the_file(tmp_path: Path, kind: int):
    """An array of numbers or of texts, and a text."""
    inner = b"" if kind == 8 else kind.to_bytes(4, "little")
    entry = b"\1" + bytes(7) + b"k" + (8 if kind == 8 else 9).to_bytes(4, "little") + inner
    header = b"GGUF" + (3).to_bytes(4, "little") + bytes(8) + (1).to_bytes(8, "little")
    path = tmp_path / "m.gguf"
    for claimed in (200, 2**22 + 1, 2**62):
        path.write_bytes(header + entry + claimed.to_bytes(8, "little") + bytes(100))
        with pytest.raises(ModelError, match=r"claims|ends too early"):
            read_header(path)

"""GGUF files: tiny ones written here, and the small real one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import safetensors.torch
from transformers import AutoTokenizer

from p2pinfer.errors import ModelError, UnsupportedModelError
from p2pinfer.model.formats.gguf.file import GgufFile
from p2pinfer.model.formats.gguf.reader import read_header
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.model.source import convert_model
from tests.model.tiny_models import save_tiny_model, tiny_config

_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
}


def permuted(weight: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp's order of rotary rows: it pairs neighbours where transformers pairs halves."""
    return weight.reshape(heads, 2, -1, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def write_gguf(folder: Path, path: Path, architecture: str, merges: str = "a b", **more: str) -> None:
    """What llama.cpp's converter makes of a Hugging Face folder, in float32, with a tokenizer of bytes."""
    config = json.loads((folder / "config.json").read_text())
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_key_length(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    letters = [chr(code) for code in range(33, 33 + 94)]
    words = ["<unk>", "<s>", "</s>", "ab"]
    words += [f"<{number}>" for number in range(config["vocab_size"] - len(letters) - len(words))]
    writer.add_token_list(words[:3] + letters + words[3:])
    writer.add_token_types([3] * 3 + [1] * (config["vocab_size"] - 3))
    writer.add_token_merges([merges])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    for key, value in more.items():
        writer.add_string(key.replace("__", "."), value)
    for name, tensor in safetensors.torch.load_file(folder / "model.safetensors").items():
        values = tensor.float().numpy()
        if architecture == "llama" and ".q_proj." in name:
            values = permuted(values, config["num_attention_heads"])
        if architecture == "llama" and ".k_proj." in name:
            values = permuted(values, config["num_key_value_heads"])
        stem, _, kind = name.rpartition(".")
        if stem.startswith("model.layers."):
            _, _, layer, inner = stem.split(".", 3)
            writer.add_tensor(f"blk.{layer}.{_NAMES[inner]}.{kind}", values)
        else:
            writer.add_tensor(f"{_NAMES[stem]}.{kind}", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def plain_model(folder: Path, architecture: str) -> Path:
    """A tiny model without what GGUF doesn't say."""
    fields: dict[str, Any] = {"rope_parameters": {"rope_type": "default", "rope_theta": 5000.0}}
    if architecture == "qwen2":
        fields |= {"use_sliding_window": False, "layer_types": None}
    assert tiny_config(architecture, **fields)
    return save_tiny_model(folder, architecture, **fields)


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
    assert smollm2.manifest.hash == "df7a234c2eeffcc62f188a3c4ae3dbbcbbec25cd2652bbbbadca58488f64c1e0"


def test_a_gguf_file_is_called_what_its_file_is_called(smollm2_file: Path):
    """Without the quantization; the name in its metadata is often a training run's."""
    assert GgufFile(smollm2_file).name == "SmolLM2-135M-Instruct"


def test_a_broken_tokenizer_is_one_clear_error(tmp_path: Path):
    folder = plain_model(tmp_path / "m", "llama")
    write_gguf(folder, tmp_path / "m.gguf", "llama", merges="no such")

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


def test_scaled_rotary_positions_are_refused(tmp_path: Path):
    """GGUF describes them differently, and short texts would hide wrong positions."""
    folder = plain_model(tmp_path / "m", "llama")
    write_gguf(folder, tmp_path / "m.gguf", "llama", llama__rope__scaling__type="yarn")

    with pytest.raises(UnsupportedModelError, match="scales its rotary positions: convert"):
        GgufFile(tmp_path / "m.gguf")


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

"""Tiny GGUF files, as llama.cpp's converter writes them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import safetensors.torch
from tokenizers.pre_tokenizers import ByteLevel

from p2pinfer.model.formats.gguf.splits import BYTE_CHARACTERS
from tests.model.tiny_models import save_tiny_model

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


def plain_model(folder: Path, architecture: str, **fields: Any) -> Path:
    """A tiny model without what GGUF doesn't say."""
    fields = {"rope_parameters": {"rope_type": "default", "rope_theta": 5000.0}, **fields}
    if architecture == "qwen2":
        fields |= {"use_sliding_window": False, "layer_types": None}
    return save_tiny_model(folder, architecture, **fields)


def model_fields(config: Mapping[str, Any], architecture: str) -> dict[str, Any]:
    """The metadata of the model, without its tokenizer and without scaled positions."""
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    return {
        f"{architecture}.context_length": config["max_position_embeddings"],
        f"{architecture}.embedding_length": config["hidden_size"],
        f"{architecture}.block_count": config["num_hidden_layers"],
        f"{architecture}.feed_forward_length": config["intermediate_size"],
        f"{architecture}.attention.head_count": config["num_attention_heads"],
        f"{architecture}.attention.head_count_kv": config["num_key_value_heads"],
        f"{architecture}.attention.layer_norm_rms_epsilon": config["rms_norm_eps"],
        f"{architecture}.rope.freq_base": config["rope_parameters"]["rope_theta"],
        f"{architecture}.attention.key_length": head_dim,
        f"{architecture}.attention.value_length": head_dim,
    }


def tokenizer_fields(vocab_size: int) -> dict[str, Any]:
    """The metadata of a tokenizer of letters."""
    letters = [chr(code) for code in range(33, 33 + 94)]
    words = ["<unk>", "<s>", "</s>", *letters, "ab"]
    words += [f"<{number}>" for number in range(vocab_size - len(words))]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": words,
        "tokenizer.ggml.token_type": [3] * 3 + [1] * (vocab_size - 3),
        "tokenizer.ggml.merges": ["a b"],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.padding_token_id": 0,
    }


def write_gguf(
    folder: Path,
    path: Path,
    architecture: str,
    fields: Mapping[str, Any] | None = None,
    tensors: Mapping[str, np.ndarray | None] | None = None,
) -> Path:
    """What llama.cpp's converter makes of a Hugging Face folder, in float32, with a tokenizer of letters.

    `fields` and `tensors` are written instead of the usual ones; None leaves one out.
    """
    config = json.loads((folder / "config.json").read_text())
    written: dict[str, np.ndarray | None] = {}
    for name, tensor in safetensors.torch.load_file(folder / "model.safetensors").items():
        values = tensor.float().numpy()
        if architecture == "llama" and ".q_proj." in name:
            values = permuted(values, config["num_attention_heads"])
        if architecture == "llama" and ".k_proj." in name:
            values = permuted(values, config["num_key_value_heads"])
        stem, _, kind = name.rpartition(".")
        if stem.startswith("model.layers."):
            _, _, layer, inner = stem.split(".", 3)
            written[f"blk.{layer}.{_NAMES[inner]}.{kind}"] = values
        else:
            written[f"{_NAMES[stem]}.{kind}"] = values
    metadata = {
        **model_fields(config, architecture),
        **tokenizer_fields(config["vocab_size"]),
        **(fields or {}),
    }
    return write_file(path, architecture, metadata, {**written, **(tensors or {})})


def write_file(
    path: Path, architecture: str, fields: Mapping[str, Any], tensors: Mapping[str, np.ndarray | None]
) -> Path:
    """A GGUF file with exactly these fields and tensors; those that are None are left out."""
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in fields.items():
        match value:
            case None:
                pass
            case bool():
                writer.add_bool(key, value)
            case int():
                writer.add_uint32(key, value)
            case float():
                writer.add_float32(key, value)
            case str():
                writer.add_string(key, value)
            case _:
                writer.add_array(key, value)
    for name, tensor in tensors.items():
        if tensor is not None:
            writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def pairs_fields(texts: Iterable[str]) -> dict[str, Any]:
    """The metadata of a tokenizer that merges any two bytes that are neighbours in `texts`.

    Its ids show where words end.
    """
    visible = [ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(text) for text in texts]
    pairs = sorted({pair for [(word, _)] in filter(None, visible) for pair in pairwise(word)})
    special = ["<|im_start|>", "<|im_end|>", "<s>"]
    tokens = [*BYTE_CHARACTERS, *(first + second for first, second in pairs), *special]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [1] * (len(tokens) - len(special)) + [3] * len(special),
        "tokenizer.ggml.merges": [f"{first} {second}" for first, second in pairs],
        "tokenizer.ggml.bos_token_id": tokens.index("<s>"),
        "tokenizer.ggml.eos_token_id": tokens.index("<|im_end|>"),
    }


def sentencepiece_fields() -> dict[str, Any]:
    """The metadata of a small SentencePiece tokenizer: bytes, letters, and words by score."""
    words = ["▁", "▁a", "an", "and", "▁and", "in", "ing", "▁l", "le", "ea", "▁t", "th", "the", "▁the", "▁▁"]
    words += ["▁▁▁▁", "don", "'t", "▁c", "cup", "cups", "▁cup", "▁cups", "12", "us", "user", "你好", "é"]
    pieces = [*dict.fromkeys([*words, *map(chr, range(33, 127)), *"éßñ½你好世界"])]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *pieces]
    tokens += ["<|im_start|>", "<x>"]
    special = {"<unk>": 2, "<s>": 3, "</s>": 3, "<|im_start|>": 3, "<x>": 4}
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [0.0] * 259 + [-float(rank) for rank in range(len(pieces))] + [0.0, 0.0],
        "tokenizer.ggml.token_type": [special.get(t, 6 if t.startswith("<0x") else 1) for t in tokens],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
    }

"""A GGUF file as a source of weights: dequantized to float32 a few rows at a time.

llama.cpp's quantization is undone and the rows are quantized again, so the accuracy is that of the file,
not that of the original model. This reads only architectures that GGUF describes completely; for the
others, convert the Hugging Face model.
"""

from __future__ import annotations

import errno
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2pinfer.errors import ModelError, UnsupportedModelError
from p2pinfer.model.formats.gguf_reader import GgufTensor, read_header

ARCHITECTURES = ("llama", "qwen2", "qwen3")

_QUANTIZATION = re.compile(r"[.-](I?Q\d\w*|B?F16|F32)$", re.IGNORECASE)

_OUTER_NAMES = {
    "token_embd.weight": "embed_tokens.weight",
    "output_norm.weight": "norm.weight",
    "output.weight": "lm_head.weight",
}
_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


class GgufFile:
    """A `weights.WeightSource`."""

    def __init__(self, path: Path) -> None:
        """Raises ModelError if the file is damaged or of another architecture."""
        self._path = path
        header = read_header(path)
        self._metadata = header.metadata
        self._architecture = str(header.metadata.get("general.architecture"))
        if self._architecture not in ARCHITECTURES:
            raise UnsupportedModelError(
                f"p2pinfer reads GGUF files of {', '.join(ARCHITECTURES)}, not "
                f"{self._architecture!r}: convert the Hugging Face model instead"
            )
        if "rope_freqs.weight" in header.tensors or self._key("rope.scaling.type", "none") != "none":
            raise UnsupportedModelError(
                f"{path.name} scales its rotary positions: convert the Hugging Face model instead"
            )
        self._tensors = {_store_name(name): tensor for name, tensor in header.tensors.items()}
        self.shapes = {name: tensor.shape for name, tensor in self._tensors.items()}
        self._data = np.memmap(path, np.uint8, "r")

    @property
    def name(self) -> str:
        """The file's name without its quantization; `general.name` is often a training run's."""
        return _QUANTIZATION.sub("", self._path.stem)

    @property
    def config(self) -> dict[str, Any]:
        """A config with `transformers`' field names."""
        heads = self._key("attention.head_count")
        fields = {
            "model_type": self._architecture,
            "hidden_size": self._key("embedding_length"),
            "intermediate_size": self._key("feed_forward_length"),
            "num_hidden_layers": self._key("block_count"),
            "num_attention_heads": heads,
            "num_key_value_heads": self._key("attention.head_count_kv", heads),
            "head_dim": self._key("attention.key_length", self._key("embedding_length") // heads),
            "max_position_embeddings": self._key("context_length"),
            # float32 in the file: 1e-5 comes back as 9.999999747378752e-06 unless it is rounded
            "rms_norm_eps": float(f"{self._key('attention.layer_norm_rms_epsilon'):.6g}"),
            "rope_parameters": {"rope_type": "default", "rope_theta": self._key("rope.freq_base", 10000.0)},
            "vocab_size": self.shapes["embed_tokens.weight"][0],
            "tie_word_embeddings": "lm_head.weight" not in self.shapes,
            "attention_bias": "layers.0.self_attn.q_proj.bias" in self.shapes,
            "mlp_bias": "layers.0.mlp.gate_proj.bias" in self.shapes,
        }
        return fields | self.generation_config

    @property
    def generation_config(self) -> dict[str, Any]:
        """The special tokens. Generation stops at `eos_token_id`."""
        keys = {"bos_token_id": "bos", "eos_token_id": "eos", "pad_token_id": "padding"}
        return {name: self._metadata.get(f"tokenizer.ggml.{key}_token_id") for name, key in keys.items()}

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """Rows [start, stop) of a tensor, dequantized."""
        tensor = self._tensors[name]
        heads = self._permuted_heads(name)
        if heads is None:
            return self._dequantized(tensor, start, stop)
        # llama.cpp pairs neighbouring rotary rows; transformers pairs the halves of a head
        head_rows = tensor.shape[0] // heads
        first = start // head_rows * head_rows
        values = self._dequantized(tensor, first, -(-stop // head_rows) * head_rows)
        paired = values.reshape(-1, head_rows // 2, 2, *values.shape[1:]).swapaxes(1, 2)
        return np.ascontiguousarray(paired.reshape(values.shape)[start - first : stop - first])

    def write_tokenizer(self, folder: Path) -> list[str]:
        """Build the tokenizer that the metadata describes, with its chat template, through `transformers`."""
        from transformers import PreTrainedTokenizerFast

        where, before = str(self._path.parent), set(folder.iterdir())
        try:
            tokenizer = PreTrainedTokenizerFast.from_pretrained(where, gguf_file=self._path.name)
        except Exception as error:  # the builder is compiled code and raises anything
            raise ModelError(f"{self._path} describes no tokenizer that can be built: {error}") from error
        try:
            tokenizer.save_pretrained(str(folder))
        except Exception as error:
            raise OSError(errno.EIO, f"the tokenizer can't be saved, {error}") from error
        described = folder / "tokenizer_config.json"
        fields = json.loads(described.read_text("utf-8"))
        for how_it_was_read in ("is_local", "local_files_only", "name_or_path", "gguf_file"):
            fields.pop(how_it_was_read, None)
        described.write_text(json.dumps(fields, indent=1, sort_keys=True) + "\n", "utf-8")
        return sorted(path.name for path in set(folder.iterdir()) - before)

    def _key(self, name: str, default: Any = None) -> Any:
        value = self._metadata.get(f"{self._architecture}.{name}", default)
        if value is None:
            raise ModelError(f"{self._path} lacks {self._architecture}.{name} in its metadata")
        return value

    def _permuted_heads(self, name: str) -> int | None:
        if self._architecture != "llama":
            return None
        if ".q_proj." in name:
            return int(self._key("attention.head_count"))
        if ".k_proj." in name:
            return int(self._key("attention.head_count_kv", self._key("attention.head_count")))
        return None

    def _dequantized(self, tensor: GgufTensor, start: int, stop: int) -> NDArray[np.float32]:
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, dequantize

        try:
            kind = GGMLQuantizationType(tensor.kind)
            block_weights, block_bytes = GGML_QUANT_SIZES[kind]
            row_bytes = tensor.shape[-1] // block_weights * block_bytes
            first = tensor.offset + start * row_bytes * (len(tensor.shape) > 1)
            rows = stop - start if len(tensor.shape) > 1 else 1
            data = np.asarray(self._data[first : first + rows * row_bytes]).reshape(rows, row_bytes)
            values = np.asarray(dequantize(data, kind), np.float32)
        except (ValueError, KeyError, NotImplementedError) as error:
            raise ModelError(
                f"{self._path} can't be dequantized (ggml type {tensor.kind}): {error}"
            ) from error
        return values if len(tensor.shape) > 1 else values[0, start:stop]


def _store_name(name: str) -> str:
    if name in _OUTER_NAMES:
        return _OUTER_NAMES[name]
    parts = name.split(".")
    if len(parts) == 4 and parts[0] == "blk" and parts[2] in _LAYER_NAMES:
        return f"layers.{parts[1]}.{_LAYER_NAMES[parts[2]]}.{parts[3]}"
    return name

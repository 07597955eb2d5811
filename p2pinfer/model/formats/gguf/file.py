"""A GGUF file as a source of weights: dequantized to float32 a few rows at a time.

llama.cpp's quantization is undone and the rows are quantized again, so the accuracy is that of the file,
not that of the original model. This reads only architectures that GGUF describes completely; for the
others, convert the Hugging Face model.
"""

from __future__ import annotations

import json
import re
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2pinfer.errors import ModelError, UnsupportedModelError
from p2pinfer.model.families import MOST_COUNT
from p2pinfer.model.formats.gguf import names, rotary
from p2pinfer.model.formats.gguf.kinds import quantization, stored_bytes
from p2pinfer.model.formats.gguf.reader import GgufTensor, read_header
from p2pinfer.model.formats.gguf.tokenizer import rule_given, tokenizer_config, tokenizer_json
from p2pinfer.model.formats.gguf.vocabulary import BYTE_PAIRS, read_vocabulary
from p2pinfer.model.layer_store.names import MAX_LAYERS
from p2pinfer.model.layer_store.origin import Origin, TensorPlace

ARCHITECTURES = ("llama", "qwen2", "qwen3")

_QUANTIZATION = re.compile(r"[.-](I?Q\d\w*|B?F16|F32)$", re.IGNORECASE)


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
        self._data = np.memmap(path, np.uint8, "r")
        for name, tensor in header.tensors.items():
            self._check_inside(name, tensor)
        self._tensors = {names.store_name(name): tensor for name, tensor in header.tensors.items()}
        divisors = rotary.TENSORS if self._architecture == "llama" else ()
        self._divisors = {
            name: self._vector(self._tensors.pop(name)) for name in divisors if name in self._tensors
        }
        self.shapes = {name: tensor.shape for name, tensor in self._tensors.items()}
        self._vocabulary = read_vocabulary(self._metadata)
        self.config = self._read_config()
        self._check_all_known()

    @property
    def name(self) -> str:
        """The file's name without its quantization; `general.name` is often a training run's."""
        return _QUANTIZATION.sub("", self._path.stem)

    @cached_property
    def origin(self) -> Origin:
        """The kind of quantization, the licence, and the place of every tensor. The file may be anybody's."""
        licence = self._metadata.get("general.license")
        return Origin.proper(
            words=f"GGUF {quantization(self._metadata, self._tensors.values())}",
            hub_id=None,
            revision=None,
            licence=licence if isinstance(licence, str) else None,
            tensors={
                name: TensorPlace(self._path.name, tensor.offset, tensor.offset + size)
                for name, tensor in self._tensors.items()
                if (size := stored_bytes(tensor)) is not None
            },
        )

    @property
    def remarks(self) -> list[str]:
        """What llama.cpp says about such a file, too."""
        if self._metadata.get("tokenizer.ggml.model") == BYTE_PAIRS and not rule_given(self._metadata):
            return [
                f"{self._path.name} doesn't say how its tokenizer splits text (tokenizer.ggml.pre): the rule "
                "'default' is used, as in llama.cpp. For another rule, convert the model again"
            ]
        return []

    @property
    def generation_config(self) -> dict[str, Any]:
        """The special tokens. Generation stops at `eos_token_id`."""
        vocabulary = self._vocabulary
        return {
            "bos_token_id": vocabulary.bos,
            "eos_token_id": vocabulary.eos,
            "pad_token_id": vocabulary.padding,
        }

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
        """Write the tokenizer that the metadata describes, with its chat template."""
        from tokenizers import Tokenizer

        described = tokenizer_json(self._metadata, self._vocabulary)
        text = json.dumps(described, ensure_ascii=False, separators=(",", ":"))
        try:
            Tokenizer.from_str(text)
        except Exception as error:  # the builder is compiled code and raises anything
            raise ModelError(f"{self._path} describes no tokenizer that can be built: {error}") from error
        config = tokenizer_config(self._metadata, self._vocabulary)
        files = {
            "tokenizer.json": text,
            "tokenizer_config.json": json.dumps(config, indent=1, sort_keys=True) + "\n",
        }
        template = self._metadata.get("tokenizer.chat_template")
        if isinstance(template, str):
            files["chat_template.jinja"] = template
        for name, content in files.items():
            (folder / name).write_text(content, "utf-8", newline="")
        return sorted(files)

    def _read_config(self) -> dict[str, Any]:
        """A config with `transformers`' field names."""
        widest = max((size for shape in self.shapes.values() for size in shape), default=0)
        heads = self._count("attention.head_count", most=widest)
        hidden = self._count("embedding_length", most=widest)
        head_dim = self._count("attention.key_length", hidden // heads, most=widest)
        positions = self._count("context_length")
        if "embed_tokens.weight" not in self.shapes:
            raise ModelError(f"{self._path} lacks token_embd.weight")
        vocab_size = self.shapes["embed_tokens.weight"][0]
        if len(self._vocabulary.texts) > vocab_size:
            raise ModelError(
                f"{self._path} lists {len(self._vocabulary.texts)} tokens and has embeddings for {vocab_size}"
            )
        keys = rotary.read_keys(self._metadata, self._architecture, head_dim, positions)
        fields = {
            "model_type": self._architecture,
            "hidden_size": hidden,
            "intermediate_size": self._count("feed_forward_length", most=widest),
            "num_hidden_layers": self._count("block_count", most=min(MAX_LAYERS, len(self.shapes))),
            "num_attention_heads": heads,
            "num_key_value_heads": self._count("attention.head_count_kv", heads, most=widest),
            "head_dim": head_dim,
            "max_position_embeddings": positions,
            # float32 in the file: 1e-5 comes back as 9.999999747378752e-06 unless it is rounded
            "rms_norm_eps": float(f"{self._epsilon():.6g}"),
            "rope_parameters": rotary.rope_parameters(keys, rotary.choose_tensor(keys, self._divisors)),
            "vocab_size": vocab_size,
            "tie_word_embeddings": "lm_head.weight" not in self.shapes,
            "attention_bias": "layers.0.self_attn.q_proj.bias" in self.shapes,
            "mlp_bias": "layers.0.mlp.gate_proj.bias" in self.shapes,
        }
        return fields | self.generation_config

    def _check_inside(self, name: str, tensor: GgufTensor) -> None:
        """Refuse a tensor that the file doesn't hold, before anything is made in its shape."""
        size = stored_bytes(tensor)
        if size is None:
            raise ModelError(
                f"{self._path}: {name[:80]!r} is of the ggml type {tensor.kind}, which is unknown"
            )
        if tensor.offset + size > len(self._data):
            raise ModelError(
                f"{self._path} is no complete GGUF file: {name[:80]!r} has {size:,} bytes, and the file ends "
                f"after {len(self._data):,}"
            )

    def _check_all_known(self) -> None:
        """Refuse a file with tensors that would be left out silently. llama.cpp doesn't load it either."""
        known = names.known_names(
            self._architecture,
            self.config["num_hidden_layers"],
            attention_bias=self.config["attention_bias"] and self._architecture != "qwen2",
            mlp_bias=self.config["mlp_bias"],
        )
        unknown = sorted(set(self.shapes) - set(known))
        if unknown:
            raise UnsupportedModelError(
                f"{self._path.name} has tensors that a plain {self._architecture} model doesn't: {unknown[0]}"
                f"{f' and {len(unknown) - 1} more' if len(unknown) > 1 else ''}"
            )

    def _count(self, name: str, default: int | None = None, most: int = MOST_COUNT) -> int:
        value = self._key(name, default)
        if not isinstance(value, int) or value <= 0:
            words = repr(value)[:80]
            raise ModelError(f"{self._path}: {self._architecture}.{name} is {words}, not a positive number")
        if value > most:
            raise ModelError(
                f"{self._path}: {self._architecture}.{name} is {value:,}, and this file can't have more than "
                f"{most:,}"
            )
        return value

    def _epsilon(self) -> float:
        value = self._key("attention.layer_norm_rms_epsilon")
        if not isinstance(value, float):
            raise ModelError(f"{self._path}: the norms' epsilon is {value!r}, not a number")
        return value

    def _vector(self, tensor: GgufTensor) -> list[float]:
        if len(tensor.shape) != 1:
            raise ModelError(f"{self._path} has rotary divisors of the shape {tensor.shape}")
        return [float(value) for value in self._dequantized(tensor, 0, tensor.shape[0])]

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

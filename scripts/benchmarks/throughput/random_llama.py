"""A Llama of TinyLlama's shape with random weights: large enough that memory bandwidth decides its speed."""

from __future__ import annotations

import hashlib
import json
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2pinfer.errors import StoreError
from p2pinfer.model.conversion import convert
from p2pinfer.model.layer_store.manifest import FORMAT
from p2pinfer.model.layer_store.origin import Origin
from p2pinfer.model.layer_store.store import LayerStore

CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 22,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-5,
    "vocab_size": 32_000,
    "tie_word_embeddings": False,
}
DEVIATION = 0.02


class RandomLlama:
    """A `WeightSource` that draws its weights when they are read, always the same ones."""

    name = "random Llama, 22 layers, 2048 wide"
    config = CONFIG
    generation_config: dict[str, Any] = {}  # noqa: RUF012 (a protocol's attribute)
    remarks: list[str] = []  # noqa: RUF012 (likewise)
    origin = Origin(format="random numbers")

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor, by its name in transformers' Llama."""
        hidden, inner, vocab = CONFIG["hidden_size"], CONFIG["intermediate_size"], CONFIG["vocab_size"]
        keys = hidden // CONFIG["num_attention_heads"] * CONFIG["num_key_value_heads"]
        layer = {
            "input_layernorm.weight": (hidden,),
            "self_attn.q_proj.weight": (hidden, hidden),
            "self_attn.k_proj.weight": (keys, hidden),
            "self_attn.v_proj.weight": (keys, hidden),
            "self_attn.o_proj.weight": (hidden, hidden),
            "post_attention_layernorm.weight": (hidden,),
            "mlp.gate_proj.weight": (inner, hidden),
            "mlp.up_proj.weight": (inner, hidden),
            "mlp.down_proj.weight": (hidden, inner),
        }
        ends = {
            "embed_tokens.weight": (vocab, hidden),
            "norm.weight": (hidden,),
            "lm_head.weight": (vocab, hidden),
        }
        layers = range(CONFIG["num_hidden_layers"])
        return ends | {f"layers.{index}.{name}": shape for index in layers for name, shape in layer.items()}

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """Rows [start, stop) of a tensor: ones for a norm, else normally distributed."""
        shape = self.shapes[name]
        if len(shape) == 1:
            return np.ones(stop - start, np.float32)
        random = np.random.default_rng([zlib.crc32(name.encode()), start])
        return random.standard_normal((stop - start, shape[1]), np.float32) * np.float32(DEVIATION)

    def write_tokenizer(self, folder: Path) -> list[str]:
        """This model has no tokenizer: benchmarks use random token ids."""
        return []


def random_llama_store(cache_folder: Path, *, progress: Callable[[str], None]) -> LayerStore:
    """Open the model's layer store; it is made first if it isn't in `cache_folder` yet. Raises StoreError."""
    key = hashlib.sha256(json.dumps([FORMAT, CONFIG, DEVIATION]).encode()).hexdigest()
    folder = cache_folder / f"random-llama-{key[:12]}"
    if not LayerStore.is_store(folder):
        try:
            cache_folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix="converting-", dir=cache_folder) as aside:
                convert(RandomLlama(), Path(aside) / "store", progress)
                (Path(aside) / "store").replace(folder)
        except OSError as error:
            raise StoreError(f"{folder} can't be written: {error.strerror or error}") from error
    return LayerStore.open(folder)


def bytes_read_per_token(store: LayerStore) -> int:
    """The bytes that every token reads once: INT8 weights, scales and norms of all layers and of the head."""
    vocab_size, hidden_size = store.manifest.vocab_size, store.manifest.hidden_size
    return store.layer_bytes(store.span) + vocab_size * (hidden_size + np.dtype(np.float32).itemsize)

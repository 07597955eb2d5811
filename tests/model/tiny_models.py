"""Tiny random models of every family, as folders, as stores, and as the oracle to compare with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from p2pinfer.hadamard import rotate
from p2pinfer.model.engine import load_engine
from p2pinfer.model.engine.base import Chunk, Engine, Hidden
from p2pinfer.model.families import FAMILIES
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.model.quantization import dequantize_rows
from p2pinfer.model.source import open_model
from p2pinfer.types import Span

NUM_LAYERS = 4
VOCAB_SIZE = 160
WINDOW = 5
"""Smaller than every test's sequences, so that sliding windows slide."""

_COMMON: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 32,
    "intermediate_size": 80,  # a whole group that is rotated, and a short one that is not
    "num_hidden_layers": NUM_LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,  # attention far from uniform, so that a wrong mask shows
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
_MIXED_LAYERS = ["sliding_attention", "full_attention"] * (NUM_LAYERS // 2)
_OWN: dict[str, dict[str, Any]] = {
    "llama": {
        "attention_bias": True,
        "mlp_bias": True,
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": 10000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        },
    },
    "mistral": {"sliding_window": WINDOW},
    "ministral": {"head_dim": 16, "sliding_window": WINDOW, "layer_types": _MIXED_LAYERS},
    "qwen2": {"use_sliding_window": True, "sliding_window": WINDOW, "layer_types": _MIXED_LAYERS},
    "qwen3": {"head_dim": 16, "tie_word_embeddings": True},
    "gemma": {"head_dim": 16},
    "gemma2": {
        "head_dim": 16,
        "sliding_window": WINDOW,
        "query_pre_attn_scalar": 8,
        "attn_logit_softcapping": 2.0,
        "final_logit_softcapping": 3.0,
        "layer_types": _MIXED_LAYERS,
    },
    "gemma3_text": {
        "head_dim": 16,
        "sliding_window": WINDOW,
        "query_pre_attn_scalar": 8,
        "layer_types": _MIXED_LAYERS,
        "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
            "full_attention": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 8.0},
        },
    },
    "granite": {
        "embedding_multiplier": 12.0,
        "logits_scaling": 8.0,
        "residual_multiplier": 0.3,
        "attention_multiplier": 0.2,
    },
    "olmo2": {},
    "olmo3": {"sliding_window": WINDOW, "layer_types": _MIXED_LAYERS},
    "phi3": {
        "sliding_window": WINDOW,
        "rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5},
    },
    "smollm3": {"no_rope_layers": [1, 0, 1, 0]},
    "starcoder2": {"sliding_window": WINDOW, "use_bias": True},
}


def tiny_config(model_type: str, **fields: Any) -> Any:
    """A config of a family with small numbers and every switch on that the family has."""
    return AutoConfig.for_model(model_type, **_COMMON | _OWN[model_type] | fields)


def save_tiny_model(folder: Path, model_type: str, **fields: Any) -> Path:
    """A random model as `save_pretrained` writes it, with norms and biases that matter, and a tokenizer."""
    torch.manual_seed(sum(model_type.encode()))
    model = AutoModelForCausalLM.from_config(tiny_config(model_type, **fields))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or name.endswith("bias"):
                parameter += 0.3 * torch.randn_like(parameter)
    model.to(torch.bfloat16).save_pretrained(folder)
    (folder / "tokenizer.json").write_text(json.dumps({"model": model_type}))
    return folder


def tiny_store(folder: Path, model_type: str, **fields: Any) -> LayerStore:
    """A random model of a family as a layer store below `folder`."""
    source = save_tiny_model(folder / "source", model_type, **fields)
    return open_model(str(source), cache_folder=folder / "cache", progress=lambda line: None)


class RoundingLinear(torch.nn.Module):
    """What an INT8 linear layer computes, plainly: rotated bfloat16 in, bfloat16 out, float32 between."""

    def __init__(self, quantized: torch.Tensor, scales: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.quantized, self.scales, self.bias = quantized.float(), scales, bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [..., in] to [..., out]."""
        x = torch.from_numpy(rotate(x.numpy())).bfloat16().float()
        out = (x @ self.quantized.T).bfloat16().float() * self.scales
        return out if self.bias is None else out + self.bias


def oracle(store: LayerStore, *, rounding: bool) -> Any:
    """`transformers`' whole model in float32 with the dequantized weights of a store.

    With `rounding` its linear layers round as the reference engine's do; what is left of a
    difference is then the order of float32 sums.
    """
    config = store.config()
    config._attn_implementation = "eager"
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    tensors = {f"model.{name}": value for name, value in store.ends_tensors().items()}
    for layer in range(store.manifest.num_layers):
        tensors |= {
            f"model.layers.{layer}.{name}": value for name, value in store.layer_tensors(layer).items()
        }
    tensors = {name.replace("model.lm_head", "lm_head"): value for name, value in tensors.items()}
    state = {
        name: torch.from_numpy(
            dequantize_rows(value, tensors[f"{name}_scale"]) if value.dtype == np.int8 else value.copy()
        )
        for name, value in tensors.items()
        if not name.endswith("_scale")
    }
    if config.tie_word_embeddings:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
        for suffix in ("weight", "weight_scale"):
            tensors[f"lm_head.{suffix}"] = tensors[f"model.embed_tokens.{suffix}"]
    model.load_state_dict(state)
    if rounding:
        for name, child in list(model.named_modules()):
            if isinstance(child, torch.nn.Linear):
                rows, scales = tensors[f"{name}.weight"], tensors[f"{name}.weight_scale"]
                linear = RoundingLinear(torch.from_numpy(rows), torch.from_numpy(scales), child.bias)
                model.set_submodule(name, linear)
    return model


@torch.inference_mode()
def oracle_run(model: Any, ids: np.ndarray) -> tuple[Hidden, Hidden, np.ndarray]:
    """One sequence, prefilled at once: what goes into the layers, what comes out, and the logits."""
    seen: list[torch.Tensor] = []
    first, norm = model.model.layers[0], model.model.norm
    hooks = [
        first.register_forward_pre_hook(lambda _, args, kwargs: seen.append(args[0]), with_kwargs=True),
        norm.register_forward_pre_hook(lambda _, args: seen.append(args[0])),
    ]
    logits = model(input_ids=torch.from_numpy(ids)[None], use_cache=False).logits
    for hook in hooks:
        hook.remove()
    return seen[0][0].numpy(), seen[1][0].numpy(), logits[0].numpy()


def run_in_pieces(engine: Engine, hidden: Hidden, pieces: list[int]) -> Hidden:
    """Run one sequence through an engine in chunks of these lengths."""
    cache, start, outputs = engine.new_cache(), 0, []
    for tokens in pieces:
        outputs += engine.forward([Chunk(cache, hidden[start : start + tokens])])
        start += tokens
    assert start == len(hidden)
    cache.release()
    return np.concatenate(outputs)


def reference(store: LayerStore, span: Span | None = None) -> Engine:
    """The reference engine for a span, or for all layers."""
    return load_engine(store, span or store.span, engine="reference")


def random_ids(count: int, seed: int = 0) -> np.ndarray:
    """Token ids of a tiny model."""
    return np.random.default_rng(seed).integers(0, VOCAB_SIZE, count)


def relative_difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Norm of the difference over the norm of what was expected."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


ALL_FAMILIES = sorted(FAMILIES)

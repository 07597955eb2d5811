"""The model's original weights in one process of transformers, at its default number of threads."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, GgufConfig

from scripts.benchmarks.contenders import hf_generation


def load(model_file: str, dtype: str) -> dict[str, Callable[..., dict[str, Any]]]:
    """Read a GGUF file into torch tensors of `dtype`."""
    gguf = Path(model_file)
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        dtype=getattr(torch, dtype),
        # Packed weights would be unpacked for every product, which is slower, and would be another model.
        quantization_config=GgufConfig(dequantize=True),
    )
    return {"decode": partial(hf_generation.decode, model)}

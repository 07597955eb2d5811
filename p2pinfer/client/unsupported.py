"""Arguments of generate() and forward() that p2pinfer refuses, so that no result is silently different."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import GenerationConfig

from p2pinfer.errors import UsageError


def refuse_unsupported(config: GenerationConfig, kwargs: dict[str, Any]) -> None:
    """Raise UsageError for an argument of generate() that would fail later, or change the result silently."""

    def setting(name: str) -> Any:
        value = kwargs.get(name)
        return value if value is not None else getattr(config, name, None)

    if (setting("num_beams") or 1) > 1:
        raise UsageError("beam search is not supported: use num_beams=1 (greedy or sampling)")
    unsupported = (
        "assistant_model",
        "prompt_lookup_num_tokens",
        "penalty_alpha",
        "dola_layers",
        "constraints",
    )
    for name in unsupported:
        if setting(name):
            raise UsageError(f"{name} is not supported: use greedy decoding or sampling")
    if kwargs.get("inputs_embeds") is not None:
        raise UsageError("inputs_embeds is not supported: pass input_ids")
    if kwargs.get("past_key_values") is not None:
        raise UsageError("past_key_values stay with the servers: use model.inference_session() to keep them")


def check_tokens(ids: NDArray[np.int64], vocab_size: int) -> None:
    """Raise UsageError if a token id is outside the model's vocabulary."""
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= vocab_size:
        raise UsageError(
            f"token {low if low < 0 else high} is outside the vocabulary of {vocab_size}: "
            "use this model's own tokenizer"
        )

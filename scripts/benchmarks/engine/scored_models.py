"""Language models that score texts: transformers' own, and p2pinfer's layers as a route runs them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from transformers import AutoModelForCausalLM, GgufConfig

from p2pinfer.model.ends import ClientEnds
from p2pinfer.model.engine.base import Chunk, Engine, Hidden
from p2pinfer.types import Span
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.tensors import decode_hidden, encode_hidden


class ScoredModel(Protocol):
    """A model in two steps, because the scores of a whole text at once would take gigabytes."""

    def states(self, ids: Sequence[int]) -> Any:
        """Run every layer over a text; one row per token."""

    def logits(self, states: Any) -> torch.Tensor:
        """Float32 scores [rows, vocabulary] of some rows of `states`."""


class TransformersModel:
    """A GGUF file of a Llama-like model in torch tensors of one dtype, read without any code of p2pinfer."""

    def __init__(self, model_file: Path, dtype: torch.dtype) -> None:
        self._model = AutoModelForCausalLM.from_pretrained(
            model_file.parent,
            gguf_file=model_file.name,
            dtype=dtype,
            quantization_config=GgufConfig(dequantize=True),
        )

    def states(self, ids: Sequence[int]) -> torch.Tensor:
        """Final norm included."""
        states: torch.Tensor = self._model.model(torch.tensor([ids]), use_cache=False).last_hidden_state
        return states[0]

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """Scores, computed in the model's dtype."""
        scores: torch.Tensor = self._model.lm_head(states).float()
        return scores


class RouteModel:
    """p2pinfer's engine and the client's ends; between client and hops, hidden states become bytes."""

    def __init__(
        self, engine: Engine, ends: ClientEnds, spans: Sequence[Span], wire_dtype: pb.WireDtype
    ) -> None:
        """`spans` are the hops' layers; one engine that holds all of them plays every hop."""
        self._engine, self._ends = engine, ends
        self._spans, self._wire_dtype = spans, wire_dtype

    def states(self, ids: Sequence[int]) -> Hidden:
        """The hidden states that come back to the client: the final norm is part of the client's head."""
        hidden = self._sent(self._ends.embed(np.array(ids)))
        for span in self._spans:
            cache = self._engine.new_cache(span)
            (hidden,) = self._engine.forward([Chunk(cache, hidden)])
            cache.release()
            hidden = self._sent(hidden)
        return hidden

    def logits(self, states: Hidden) -> torch.Tensor:
        """Scores by the client's INT8 head."""
        return torch.from_numpy(self._ends.logits(states))

    def _sent(self, hidden: Hidden) -> Hidden:
        tokens, columns = hidden.shape
        data = memoryview(bytes(encode_hidden(hidden, self._wire_dtype)))
        return decode_hidden(data, tokens, columns, self._wire_dtype)

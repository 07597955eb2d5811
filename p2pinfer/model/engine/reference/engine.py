"""The engine that runs every supported family: `transformers`' own layers over INT8 weights.

Layers are built on the meta device. INT8 layers replace their linear layers, and the store provides the
other parameters. The residual stream, norms, rotary and attention are float32. It is slower than the native
engine, whose tests compare with it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from p2pinfer.errors import StoreError
from p2pinfer.model.engine.base import Chunk, Hidden, SequenceCache
from p2pinfer.model.engine.reference import attention
from p2pinfer.model.engine.reference.int8_linear import int8_linear
from p2pinfer.model.engine.reference.rotary import RotaryTable
from p2pinfer.model.engine.reference.torch_cache import TorchCache, steps_of
from p2pinfer.model.engine.stretches import stretches
from p2pinfer.model.families import FAMILIES
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.model.layer_store.tensors import Tensors
from p2pinfer.model.memory import cache_bytes_per_token
from p2pinfer.types import Span

NUMERICS_CPU = "reference-w8h64-1"
NUMERICS_CUDA = "reference-llmint8h64-1"


class ReferenceEngine:
    """An `Engine`. Sequences of one call share only the work of the linear layers.

    On CUDA the chunks of a call run one after the other: bitsandbytes chooses outlier columns by all rows
    of a call, and a sequence must not depend on its neighbours.
    """

    def __init__(self, store: LayerStore, span: Span, device: torch.device | None = None) -> None:
        """Load the span's layers, and no others. Raises StoreError if their files are not whole."""
        self._device = device or torch.device("cpu")
        self._span = span
        self._hidden_size = store.manifest.hidden_size
        config = copy.deepcopy(store.config())
        config._attn_implementation = attention.register()
        family = FAMILIES[config.model_type]
        all_types = getattr(config, "layer_types", None) or [""] * store.manifest.num_layers
        self._layer_types = tuple(all_types[span.start : span.end])
        self._rotary = RotaryTable(family, family.build_rotary(config), tuple(sorted(set(all_types))))
        self._layers = []
        self._weight_bytes = 0
        for layer in range(span.start, span.end):
            with torch.device("meta"):
                module = family.build_layer(config, layer)
            tensors = store.layer_tensors(layer)
            self._weight_bytes += sum(tensor.nbytes for tensor in tensors.values())
            _fill(module, tensors, self._device)
            self._layers.append(module.eval().requires_grad_(False))
        self._kv_heads: int = config.num_key_value_heads
        self._head_dim: int = (
            getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        )

    @property
    def span(self) -> Span:
        """The layers it holds."""
        return self._span

    @property
    def hidden_size(self) -> int:
        """Width of the residual stream."""
        return self._hidden_size

    @property
    def numerics(self) -> str:
        """The numerics class. Bits agree only on the same kind of processor and the same torch version."""
        return NUMERICS_CPU if self._device.type == "cpu" else NUMERICS_CUDA

    @property
    def weight_bytes(self) -> int:
        """Memory for weights, scales and norms."""
        return self._weight_bytes

    @property
    def cache_bytes_per_token(self) -> int:
        """Memory for one token's keys and values in all layers, float32."""
        return cache_bytes_per_token(self._span, kv_heads=self._kv_heads, head_dim=self._head_dim)

    def new_cache(self, layers: Span | None = None) -> SequenceCache:
        """An empty cache for the whole span or for some of its layers."""
        if layers is not None and not layers.within(self._span):
            raise ValueError(f"this engine holds layers {self._span}, not {layers}")
        return TorchCache(layers or self._span, self._kv_heads, self._head_dim, self._device)

    def forward(self, chunks: Sequence[Chunk]) -> list[Hidden]:
        """Run every chunk; if one raises, no cache has changed its length."""
        if self._device.type != "cpu":
            return [self._forward_packed([chunk])[0] for chunk in chunks]
        return self._forward_packed(chunks) if chunks else []

    @torch.inference_mode()
    def _forward_packed(self, chunks: Sequence[Chunk]) -> list[Hidden]:
        caches = [_own(chunk.cache) for chunk in chunks]
        for chunk in chunks:
            if chunk.hidden.ndim != 2 or chunk.hidden.shape[1] != self._hidden_size or not len(chunk.hidden):
                raise ValueError(f"a chunk is [tokens, {self._hidden_size}], not {chunk.hidden.shape}")
        lengths = [len(chunk.hidden) for chunk in chunks]
        with steps_of(caches, lengths):
            inputs = [np.array(chunk.hidden, np.float32) for chunk in chunks]  # torch takes no read-only one
            hidden = [torch.from_numpy(one).to(self._device) for one in inputs]
            for stretch in stretches([cache.layers for cache in caches]):
                passing = stretch.passing
                mine = [caches[index] for index in passing]
                counts = [lengths[index] for index in passing]
                starts = zip(mine, counts, strict=True)
                positions = [torch.arange(cache.length, cache.length + tokens) for cache, tokens in starts]
                out = self._run_layers(
                    torch.cat([hidden[index] for index in passing])[None],
                    torch.cat(positions),
                    stretch.layers,
                    attention.PackedBatch(mine, counts),
                )
                for index, piece in zip(passing, out[0].split(counts), strict=True):
                    hidden[index] = piece
            return [piece.cpu().numpy() for piece in hidden]

    def _run_layers(
        self, hidden: torch.Tensor, positions: torch.Tensor, layers: Span, packed: attention.PackedBatch
    ) -> torch.Tensor:
        mine = slice(layers.start - self._span.start, layers.end - self._span.start)
        types = self._layer_types[mine]
        self._rotary.extend(int(positions.max()) + 1)
        rotary = {kind: self._rotary.at(positions, kind) for kind in set(types)}
        rotary = {kind: (cos.to(self._device), sin.to(self._device)) for kind, (cos, sin) in rotary.items()}
        for layer, kind in zip(self._layers[mine], types, strict=True):
            hidden = layer(
                hidden,
                attention_mask=None,
                position_embeddings=rotary[kind],
                past_key_values=packed,
                use_cache=True,
                packed=packed,
            )
        return hidden


def _own(cache: SequenceCache) -> TorchCache:
    if not isinstance(cache, TorchCache):
        raise TypeError(f"the reference engine needs its own caches, not {type(cache).__name__}")
    return cache


def _fill(module: torch.nn.Module, tensors: Tensors, device: torch.device) -> None:
    """Give a layer on the meta device its weights. Linear weights stay the INT8 rows of the store."""
    left: dict[str, Any] = {name: torch.from_numpy(tensor) for name, tensor in tensors.items()}
    try:
        for name, child in list(module.named_modules()):
            if isinstance(child, torch.nn.Linear):
                bias = left.pop(f"{name}.bias") if child.bias is not None else None
                linear = int8_linear(
                    left.pop(f"{name}.weight"), left.pop(f"{name}.weight_scale"), bias, device
                )
                module.set_submodule(name, linear)
    except KeyError as error:
        raise StoreError(f"a layer's file lacks {error.args[0]}: convert again") from error
    incompatible = module.load_state_dict(
        {name: tensor.to(device) for name, tensor in left.items()}, strict=False, assign=True
    )
    if incompatible.missing_keys or incompatible.unexpected_keys:
        wrong = (*incompatible.missing_keys, *incompatible.unexpected_keys)
        raise StoreError(f"a layer's file does not fit the model's config: {', '.join(wrong)}; convert again")

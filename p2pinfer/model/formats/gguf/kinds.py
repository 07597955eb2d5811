"""How the tensors of a GGUF file are quantized, in words and in bytes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from p2pinfer.model.formats.gguf.reader import GgufTensor


def quantization(metadata: Mapping[str, Any], tensors: Iterable[GgufTensor]) -> str:
    """Such as `Q4_1`: as the file says it (general.file_type), or the type of most weights."""
    from gguf import GGMLQuantizationType, LlamaFileType

    said = metadata.get("general.file_type")
    if isinstance(said, int) and said in {kind.value for kind in LlamaFileType}:
        return LlamaFileType(said).name.removeprefix("MOSTLY_").removeprefix("ALL_")
    weights: Counter[int] = Counter()
    for tensor in tensors:
        weights[tensor.kind] += math.prod(tensor.shape)
    names = {kind.value: kind.name for kind in GGMLQuantizationType}
    known = [names[kind] for kind, _ in weights.most_common() if kind in names]
    return known[0] if known else "of an unknown type"


def stored_bytes(tensor: GgufTensor) -> int | None:
    """How many bytes a tensor has in the file; None for a type that isn't known."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    try:
        block_weights, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(tensor.kind)]
    except (ValueError, KeyError):
        return None
    return math.prod(tensor.shape) // block_weights * block_bytes

"""Which stored tensors belong to the decoder, and what a store calls them. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from p2pinfer.errors import ModelError
from p2pinfer.model.formats.hf.safetensors_header import FLOAT_BYTES, StoredTensor

_PREFIX = re.compile(r"^(model\.language_model\.|language_model\.model\.|language_model\.|model\.)")
_DECODER_NAME = re.compile(r"^(layers\.\d+\..+|embed_tokens\.weight|norm\.(weight|bias)|lm_head\.weight)$")


def store_name(stored: str) -> str | None:
    """A tensor's name in a store; None for a vision tower or a rotary buffer, which the layers don't need."""
    name = _PREFIX.sub("", stored)
    return name if _DECODER_NAME.match(name) else None


def check_type(file: str, stored: str, kind: str) -> None:
    """Raise ModelError unless a conversion reads numbers of this type."""
    if kind not in FLOAT_BYTES:
        raise ModelError(
            f"{file}: {stored} is stored as {kind}, and p2pinfer converts from "
            f"{', '.join(FLOAT_BYTES)}: use the original model"
        )


def format_words(tensors: Iterable[StoredTensor]) -> str:
    """The format for people, with the type of most bytes: `safetensors BF16`."""
    sizes: Counter[str] = Counter()
    for tensor in tensors:
        sizes[tensor.kind] += tensor.end - tensor.start
    return " ".join(["safetensors", *(kind for kind, _ in sizes.most_common(1))])

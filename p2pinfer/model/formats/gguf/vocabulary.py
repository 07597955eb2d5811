"""The tokens that a GGUF file lists: text, kind, score, and which of them mark begin and end. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from p2pinfer.errors import ModelError

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
"""Values of `tokenizer.ggml.token_type`."""

SENTENCEPIECE, BYTE_PAIRS = "llama", "gpt2"
"""Values of `tokenizer.ggml.model`."""

_ALWAYS_CONTROL = frozenset(
    (
        *("</s>", "<eos>", "<end_of_turn>", "<end_of_utterance>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]"),
        *("<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<|endoftext|>", "<|end_of_text|>"),
        *("<|return|>", "<|call|>", "<｜end▁of▁sentence｜>"),
    )
)
"""Ends of a turn or a text, which llama.cpp takes for control tokens whatever kind the file gives them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """What a file says about its tokens. Token ids are positions in `texts`."""

    texts: tuple[str, ...]
    kinds: tuple[int, ...]
    scores: tuple[float, ...]
    bos: int | None
    eos: int | None
    unknown: int | None
    padding: int | None

    def is_special(self, token: int) -> bool:
        """True if the token is recognised in a text before the text is split."""
        return self.kinds[token] in (UNKNOWN, CONTROL, USER_DEFINED)


def read_vocabulary(metadata: Mapping[str, Any]) -> Vocabulary:
    """Read the `tokenizer.ggml` fields. Raises ModelError if they are missing or don't fit each other."""
    listed = metadata.get("tokenizer.ggml.tokens")
    if not isinstance(listed, list) or not all(isinstance(text, str) for text in listed):
        raise ModelError("the file has no tokenizer: tokenizer.ggml.tokens is missing")
    texts = tuple(text or f"[EMPTY_{token}]" for token, text in enumerate(listed))
    [(text, times)] = Counter(texts).most_common(1) or [("", 0)]
    if times > 1:
        raise ModelError(f"the file's tokenizer lists the token {text!r} {times} times")
    kinds = _numbers(metadata, "token_type", len(texts), NORMAL)
    # A SentencePiece file that doesn't name these tokens means Llama's.
    llamas = metadata.get("tokenizer.ggml.model") == SENTENCEPIECE
    return Vocabulary(
        texts=texts,
        kinds=tuple(
            CONTROL if text in _ALWAYS_CONTROL else int(kind)
            for text, kind in zip(texts, kinds, strict=False)
        ),
        scores=tuple(map(float, _numbers(metadata, "scores", len(texts), 0.0)[: len(texts)])),
        bos=_token(metadata, "bos", len(texts), 1 if llamas else None),
        eos=_token(metadata, "eos", len(texts), 2 if llamas else None),
        unknown=_token(metadata, "unknown", len(texts), 0 if llamas else None),
        padding=_token(metadata, "padding", len(texts), None),
    )


def _numbers(metadata: Mapping[str, Any], name: str, count: int, default: float) -> Sequence[float]:
    values = metadata.get(f"tokenizer.ggml.{name}")
    if values is None:
        return [default] * count
    fits = isinstance(values, list) and len(values) >= count
    if not fits or not all(isinstance(value, int | float) for value in values):
        raise ModelError(f"tokenizer.ggml.{name} doesn't have a number for each of the {count} tokens")
    return list(values)


def _token(metadata: Mapping[str, Any], name: str, count: int, default: int | None) -> int | None:
    """A token id. An id that the vocabulary doesn't have counts as missing."""
    value = metadata.get(f"tokenizer.ggml.{name}_token_id", default)
    if not isinstance(value, int) or not 0 <= value < count:
        value = default
    return value if value is not None and value < count else None

"""A GGUF file's tokenizer as tokenizer.json and tokenizer_config.json. Pure, and the same bytes everywhere.

Both kinds become byte-pair encoding of the `tokenizers` library: GPT-2's kind has its own merges,
SentencePiece's kind gets merges in the order of its scores.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from p2pinfer.errors import ModelError, UnsupportedModelError
from p2pinfer.model.formats.gguf.splits import BYTE_LEVEL, MISSING, Splits, splits_of
from p2pinfer.model.formats.gguf.vocabulary import BYTE_PAIRS, SENTENCEPIECE, USER_DEFINED, Vocabulary

Json = dict[str, Any]

_BLANK = "▁"
"""SentencePiece's visible blank."""

_NO_LIMIT = 10**30
"""`transformers` writes this for a tokenizer that doesn't bound its texts."""


def rule_given(metadata: Mapping[str, Any]) -> str | None:
    """The name of the rule that splits text into words, if the file names one."""
    return str(metadata.get("tokenizer.ggml.pre") or "") or None


def _splits(metadata: Mapping[str, Any]) -> Splits:
    return splits_of(rule_given(metadata) or MISSING)


def tokenizer_json(metadata: Mapping[str, Any], vocabulary: Vocabulary) -> Json:
    """The content of tokenizer.json.

    Raises UnsupportedModelError for another kind of tokenizer or an unknown rule, and ModelError if the
    metadata is incomplete.
    """
    kind = metadata.get("tokenizer.ggml.model")
    if kind == BYTE_PAIRS:
        own = _byte_pairs(metadata, vocabulary)
        adds_bos = _splits(metadata).adds_bos
    elif kind == SENTENCEPIECE:
        own, adds_bos = _sentencepiece(metadata, vocabulary), True
    else:
        raise UnsupportedModelError(
            f"the file's tokenizer is of the kind {kind!r} (tokenizer.ggml.model), and p2pinfer reads "
            f"{BYTE_PAIRS!r} and {SENTENCEPIECE!r}: convert the Hugging Face model instead"
        )
    begin = _marker("bos", vocabulary.bos, metadata.get("tokenizer.ggml.add_bos_token", adds_bos))
    end = _marker("eos", vocabulary.eos, metadata.get("tokenizer.ggml.add_eos_token", False))
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            _added_token(vocabulary, token, takes_blanks=_takes_blanks(metadata))
            for token in range(len(vocabulary.texts))
            if vocabulary.is_special(token)
        ],
        **own,
        "post_processor": _template(vocabulary, begin, end),
    }


def tokenizer_config(metadata: Mapping[str, Any], vocabulary: Vocabulary) -> Json:
    """The content of tokenizer_config.json: the special tokens by name, for `transformers`."""
    named = {"bos_token": vocabulary.bos, "eos_token": vocabulary.eos}
    # An ordinary token may stand for these two, say "!"; `transformers` would cut it out of every text.
    for name, token in (("pad_token", vocabulary.padding), ("unk_token", vocabulary.unknown)):
        if token is not None and vocabulary.is_special(token):
            named[name] = token
    return {
        "backend": "tokenizers",
        "clean_up_tokenization_spaces": False,
        "model_max_length": _NO_LIMIT,
        "tokenizer_class": "TokenizersBackend",
        **{name: vocabulary.texts[token] for name, token in named.items() if token is not None},
    }


def _byte_pairs(metadata: Mapping[str, Any], vocabulary: Vocabulary) -> Json:
    splits = _splits(metadata)
    merges = metadata.get("tokenizer.ggml.merges")
    if not isinstance(merges, list) or not all(isinstance(merge, str) for merge in merges):
        raise ModelError("the file's tokenizer has no merges (tokenizer.ggml.merges)")
    pairs = [_pair(merge) for merge in merges]
    return {
        "normalizer": None,
        "pre_tokenizer": splits.pre_tokenizer(frozenset(vocabulary.texts)),
        "decoder": BYTE_LEVEL,
        "model": _model(vocabulary, pairs, ignore_merges=splits.whole_words),
    }


def _pair(merge: str) -> tuple[str, str]:
    """Both parts of a merge. A blank at the start belongs to the first part."""
    at = merge.find(" ", 1)
    if at < 0:
        raise ModelError(f"the file's tokenizer has a merge of one part: {merge!r}")
    return merge[:at], merge[at + 1 :]


def _sentencepiece(metadata: Mapping[str, Any], vocabulary: Vocabulary) -> Json:
    normalizers: list[Json] = [{"type": "Replace", "pattern": {"String": " "}, "content": _BLANK}]
    strip: list[Json] = []
    if metadata.get("tokenizer.ggml.add_space_prefix", True):
        normalizers.insert(0, {"type": "Prepend", "prepend": _BLANK})
        strip.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    decoders = [
        {"type": "Replace", "pattern": {"String": _BLANK}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
        *strip,
    ]
    model = _model(vocabulary, _pairs_by_score(vocabulary), byte_fallback=True, fuse_unk=True)
    if vocabulary.unknown is not None:
        model["unk_token"] = vocabulary.texts[vocabulary.unknown]
    return {
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": None,
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": model,
    }


def _pairs_by_score(vocabulary: Vocabulary) -> list[tuple[str, str]]:
    """Every way to put a token together from two others, the token with the highest score first."""
    scores = dict(zip(vocabulary.texts, vocabulary.scores, strict=True))
    pairs = [
        (text[:at], text[at:])
        for text in vocabulary.texts
        for at in range(1, len(text))
        if text[:at] in scores and text[at:] in scores
    ]
    # A stable sort: between equal scores the token with the lower id comes first.
    return sorted(pairs, key=lambda pair: -scores[pair[0] + pair[1]])


def _model(vocabulary: Vocabulary, pairs: Iterable[tuple[str, str]], **changed: bool) -> Json:
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
        **changed,
        "vocab": {text: token for token, text in enumerate(vocabulary.texts)},
        "merges": [list(pair) for pair in dict.fromkeys(pairs)],  # of equal pairs the first counts
    }


def _takes_blanks(metadata: Mapping[str, Any]) -> bool:
    """Phi-3's special tokens take the blanks after them. As in llama.cpp, only the model's name tells."""
    name = str(metadata.get("general.name", "")).lower()
    return "phi-3" in name or "phi3" in name


_NEVER_TAKE_BLANKS = ("<unk>", "<s>", "<|endoftext|>")


def _added_token(vocabulary: Vocabulary, token: int, *, takes_blanks: bool) -> Json:
    """A token that is recognised in text. Control tokens are left out when text is shown."""
    text = vocabulary.texts[token]
    return {
        "id": token,
        "content": text,
        "single_word": False,
        "lstrip": False,
        "rstrip": takes_blanks and text not in _NEVER_TAKE_BLANKS,
        "normalized": False,
        "special": vocabulary.kinds[token] != USER_DEFINED,
    }


def _marker(name: str, token: int | None, wanted: Any) -> int | None:
    """The token that every text begins or ends with."""
    if not wanted:
        return None
    if token is None:
        raise ModelError(
            f"the file adds a token to every text (tokenizer.ggml.add_{name}_token) and doesn't name it "
            f"(tokenizer.ggml.{name}_token_id)"
        )
    return token


def _template(vocabulary: Vocabulary, begin: int | None, end: int | None) -> Json:
    """What surrounds a text, and what surrounds two texts."""

    def special(token: int | None, kind: int) -> list[Json]:
        if token is None:
            return []
        return [{"SpecialToken": {"id": vocabulary.texts[token], "type_id": kind}}]

    def surrounded(name: str, kind: int) -> list[Json]:
        sequence = {"Sequence": {"id": name, "type_id": kind}}
        return [*special(begin, kind), sequence, *special(end, kind)]

    used = {vocabulary.texts[token]: token for token in (begin, end) if token is not None}
    return {
        "type": "TemplateProcessing",
        "single": surrounded("A", 0),
        "pair": [*surrounded("A", 0), *surrounded("B", 1)],
        "special_tokens": {
            text: {"id": text, "ids": [token], "tokens": [text]} for text, token in sorted(used.items())
        },
    }

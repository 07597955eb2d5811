"""Small tokenizers of both kinds, as a store's files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

SPECIAL = ("<unk>", "<s>", "</s>")
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
PIECES = (
    *(
        "▁",
        "a",
        "b",
        "c",
        "é",
        "▁a",
        "ab",
        "▁ab",
        "▁▁",
        "abc",
        "▁the",
        "the",
        ".",
        "!",
        "你",
        "好",
        "🙂",
        "�",
    ),
    *("<", "▁<", "x", "0", "1", "▁1"),
)


def sentencepiece(*, metaspace: bool = False) -> Tokenizer:
    """SentencePiece's kind with byte fallback: with Llama's decoder, or with Metaspace's."""
    texts = [*SPECIAL, *BYTES, *PIECES]
    vocabulary = {text: token for token, text in enumerate(texts)}
    merges = [("a", "b"), ("▁", "a"), ("▁a", "b"), ("ab", "c"), ("▁", "▁"), ("▁", "<"), ("▁", "1")]
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True)
    )
    if metaspace:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(
            replacement="▁", prepend_scheme="first", split=False
        )
        tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    else:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        tokenizer.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        )
    tokenizer.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in SPECIAL])
    tokenizer.add_tokens([AddedToken("<tool>", normalized=False, special=False)])
    return tokenizer


def byte_level() -> Tokenizer:
    """GPT-2's kind: all bytes, a few merges, special tokens, and an added token that is no byte string."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    texts = [*alphabet, "Ġa", "ab", "Ġab", "Ã©"]
    merges = [("Ġ", "a"), ("a", "b"), ("Ġa", "b"), ("Ã", "©")]
    tokenizer = Tokenizer(models.BPE(vocab={text: token for token, text in enumerate(texts)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>", "<|endoftext|>"])
    tokenizer.add_tokens([AddedToken("<think> 你", normalized=False, special=False)])
    return tokenizer


def save(tokenizer: Tokenizer, folder: Path, **files: Any) -> Path:
    """Write tokenizer.json, and the other files of these names: `generation_config={...}`."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder

"""Where words end before byte pairs are merged: one rule for each `tokenizer.ggml.pre` that is accepted.

The name in the file stands for the rule of the model that the tokenizer comes from. The rules are facts about
these models, published in their tokenizer.json. Where llama.cpp splits differently, this file follows
llama.cpp, because the GGUF file was made for it. Every rule was compared with llama.cpp on hard and random
strings. A name without a rule is refused: another rule would turn the same text into other tokens.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from p2pinfer.errors import UnsupportedModelError

MISSING = "default"
"""The rule of a file that names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Splits:
    """How text becomes words, and what else the name of the rule implies."""

    patterns: tuple[str, ...]
    """Applied one after the other. Each match is a word, and so is the text between two matches."""
    whole_words: bool = False
    """A word that is a token stays whole, whatever its parts would merge to."""
    adds_bos: bool = False
    """The begin token comes first, unless the file says otherwise."""

    def pre_tokenizer(self, tokens: Collection[str]) -> dict[str, Any]:
        """The part of a tokenizer.json that splits, and turns bytes into GPT-2's visible characters.

        Some vocabularies lack rare bytes. Such a byte is lost, but the words beside it don't merge over it.
        """
        splits = [_split(pattern, "Isolated") for pattern in self.patterns]
        missing = "".join(character for character in BYTE_CHARACTERS if character not in tokens)
        lost = [_split(f"[{re.escape(missing)}]", "Removed")] if missing else []
        return {"type": "Sequence", "pretokenizers": [*splits, BYTE_LEVEL, *lost]}


def _split(pattern: str, behavior: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": False}


BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}

_VISIBLE_BYTES = (*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), 256))
BYTE_CHARACTERS = (*map(chr, _VISIBLE_BYTES), *map(chr, range(256, 512 - len(_VISIBLE_BYTES))))
"""GPT-2's characters for the 256 bytes: the visible ones of Latin-1 for themselves, others for the rest."""

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

_CONTRACTION = r"'(?:[sStTmMdD]|[rR][eE]|[vV][eE]|[lL][lL])"
_BEFORE = r"[^\r\n\p{L}\p{N}]?"  # a blank or a symbol, which joins the word that follows
_SYMBOLS = r" ?[^\s\p{L}\p{N}]+"
_BLANKS = r"\s*[\r\n]+|\s+(?!\S)|\s+"  # line ends; then blanks, without the one that joins the next word


def _words(digits: str, *, letters: str = r"\p{L}+", symbols: str = rf"{_SYMBOLS}[\r\n]*") -> str:
    """The rule that Llama 3 and Qwen 2 share, which differ in how many digits make a word."""
    return rf"{_CONTRACTION}|{_BEFORE}{letters}|{digits}|{symbols}|{_BLANKS}"


_ONE_DIGIT = r"\p{N}"
_THREE_DIGITS = r"\p{N}{1,3}"

# Words of capitals first, then small letters. llama.cpp takes every letter beyond ASCII for both.
_UPPER, _LOWER = r"(?:(?=\p{L})[^a-z])", r"(?:(?=\p{L})[^A-Z])"


def _cased_words(digits: str, after: str = "") -> str:
    """The rule of GPT-4o and Tekken: a word ends before a capital that follows a small letter."""
    return (
        rf"{_BEFORE}{_UPPER}*{_LOWER}+{after}|{_BEFORE}{_UPPER}+{_LOWER}*{after}|{digits}"
        rf"|{_SYMBOLS}[\r\n/]*|{_BLANKS}"
    )


_CJK = r"(?:(?!\s)[一-龥ࠀ-一가-퟿])+"  # the range ࠀ-一 has blanks in it, which llama.cpp leaves out

_RULES: dict[Splits, tuple[str, ...]] = {
    Splits(patterns=(_GPT2,)): (
        *("gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion", "gigachat", "a.x-4.0", "mellum", "exaone4"),
        "granite-docling",
    ),
    Splits(patterns=(_ONE_DIGIT, _GPT2)): (
        *("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"),
    ),
    Splits(patterns=(r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]")): ("default",),
    Splits(patterns=(_words(_THREE_DIGITS),), whole_words=True, adds_bos=True): (
        *("llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral", "midm-2.0", "lfm2"),
    ),
    Splits(patterns=(_words(_THREE_DIGITS),)): ("smaug-bpe", "dbrx"),
    Splits(patterns=(_words(_ONE_DIGIT),)): (
        *("qwen2", "deepseek-r1-qwen", "kormo", "megrez", "stablelm2", "hunyuan", "solar-open", "grok-2"),
    ),
    Splits(
        patterns=(_words(_ONE_DIGIT, letters=r"[\p{L}\p{M}]+", symbols=r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"),)
    ): ("qwen35",),
    Splits(patterns=(_words(_ONE_DIGIT, symbols=r" ?[^\s\p{L}\p{N}\r\n]+"),)): ("seed-coder",),
    Splits(patterns=(_cased_words(_ONE_DIGIT),), whole_words=True, adds_bos=True): ("tekken",),
    Splits(patterns=(_cased_words(_THREE_DIGITS, f"(?:{_CONTRACTION})?"),)): ("gpt-4o", "llama4", "kanana2"),
    Splits(patterns=(r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _CJK, r"\p{N}")): ("deepseek-coder",),
}

SPLITS = {name: splits for splits, names in _RULES.items() for name in names}


def splits_of(name: str) -> Splits:
    """The rule that `tokenizer.ggml.pre` names. Raises UnsupportedModelError if it isn't known."""
    found = SPLITS.get(name)
    if found is None:
        raise UnsupportedModelError(
            f"the file's tokenizer splits text by the rule {name!r} (tokenizer.ggml.pre), which p2pinfer "
            "doesn't know: convert the Hugging Face model instead"
        )
    return found

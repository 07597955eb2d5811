"""The special tokens that tokenizer_config.json and special_tokens_map.json name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2pinfer.model.text.files import read_object

TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
SPECIAL_TOKENS_FILE = "special_tokens_map.json"

_ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_LISTS = ("additional_special_tokens", "extra_special_tokens")
_MOST_BYTES = 8 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedTokens:
    """The special tokens that a model's files name."""

    roles: Mapping[str, str]
    """`eos_token` and the like -> the token's text."""

    others: tuple[str, ...]
    """More special tokens, without a role."""

    config: Mapping[str, Any]
    """All of tokenizer_config.json."""


def read_named(folder: Path) -> NamedTokens:
    """The special tokens that a folder's files name. Raises ModelError for files that can't be read.

    What is no text in them is left out.
    """
    config = read_object(folder / TOKENIZER_CONFIG_FILE, _MOST_BYTES)
    said = {**read_object(folder / SPECIAL_TOKENS_FILE, _MOST_BYTES), **config}
    listed = [value for name in _LISTS for value in _values(said.get(name))]
    return NamedTokens(
        roles={name: text for name in _ROLES if (text := token_text(said.get(name))) is not None},
        others=tuple(text for value in listed if (text := token_text(value)) is not None),
        config=config,
    )


def token_text(value: Any) -> str | None:
    """A token's text: the value itself, or the content of an object. None for everything else."""
    content = value.get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) and content else None


def _values(listed: Any) -> list[Any]:
    if isinstance(listed, dict):
        return list(listed.values())
    return listed if isinstance(listed, list) else []

"""What a model's small files say: its configs, its list of weight files, its licence. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

from p2pinfer.errors import ModelError
from p2pinfer.model.families import text_config
from p2pinfer.outside.plain_json import read_json

CONFIG_FILE = "config.json"
GENERATION_CONFIG_FILE = "generation_config.json"
WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
CARD_FILE = "README.md"
PICKLE_PATTERNS = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")

_CARD_FIELD = re.compile(r"^(license|license_name)\s*:\s*(.*)$")
_MOST_CARD_LINES = 2000


def parse_object(text: str, where: str) -> dict[str, Any]:
    """The JSON object in a text. Raises ModelError."""
    try:
        fields = read_json(text)
    except ValueError as error:
        raise ModelError(f"{where} is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise ModelError(f"{where} holds no JSON object")
    return fields


def check_not_quantized(config: Mapping[str, Any], where: str) -> None:
    """Raise ModelError if the weights were quantized by somebody already."""
    if "quantization_config" in config:
        raise ModelError(f"{where} is quantized already; convert from the original model instead")


def generation_fields(config: dict[str, Any], generation: Mapping[str, Any] | None) -> dict[str, Any]:
    """generation_config.json without its library version, or the token ids of the config if there is none."""
    if generation is None:
        own = {**config, **text_config(config)}
        generation = {name: own.get(name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    return {
        name: value
        for name, value in generation.items()
        if name != "transformers_version" and not name.startswith("_")
    }


def weight_files(index: Mapping[str, Any] | None) -> list[str]:
    """The names of the weight files, by the model's index if it has one. Names only: no folders."""
    if index is None:
        return [WEIGHTS_FILE]
    listed = index.get("weight_map", {})
    if not isinstance(listed, dict):
        raise ModelError(f"{INDEX_FILE} has no list of files")
    return sorted({PurePosixPath(str(name)).name for name in listed.values()})


def check_all_there(files: Collection[str], present: Collection[str], where: str) -> None:
    """Raise ModelError if weight files are missing: pickles in their place are named."""
    missing = [name for name in files if name not in present]
    if not missing:
        return
    pickled = sorted(
        name for name in present if any(fnmatchcase(name, pattern) for pattern in PICKLE_PATTERNS)
    )
    if pickled:
        raise ModelError(
            f"{where} holds pickled weights ({pickled[0]}). Loading a pickle can run any program, so "
            "p2pinfer reads safetensors only: use a revision of the model that has safetensors"
        )
    raise ModelError(f"{where} has no {', '.join(missing[:8])}")


def licence_of(card: str) -> str | None:
    """The name of the licence by the front matter of a model's card (README.md)."""
    lines = card.lstrip("\ufeff").splitlines()[:_MOST_CARD_LINES]
    if not lines or lines[0].rstrip() != "---":
        return None
    found: dict[str, str] = {}
    for number, line in enumerate(lines[1:], 1):
        if line.rstrip() == "---":
            break
        if (field := _CARD_FIELD.match(line)) is not None:
            value = field[2] or (lines[number + 1] if number + 1 < len(lines) else "").lstrip("- ")
            found[field[1]] = value.partition(" #")[0].strip().strip("[]").strip("\"' ")
    licence = found.get("license") or None
    if licence == "other":
        return found.get("license_name") or licence
    return licence

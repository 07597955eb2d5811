"""What a folder in the form of Sentence Transformers says of a model's embeddings."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from p2pinfer.model.pooling import Mode, Pooling
from p2pinfer.outside.plain_json import read_json

MODULES_FILE = "modules.json"
MOST_BYTES = 1 << 20
"""Of each of these files."""

_FOLDER = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,100}")
_MODES: Mapping[str, Mode] = {"cls": "first", "lasttoken": "last", "mean": "mean"}
_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "lasttoken",
    "pooling_mode_mean_tokens": "mean",
}


def read_pooling(
    read: Callable[[str], bytes | None], config: Mapping[str, Any]
) -> tuple[Pooling | None, str | None]:
    """How a model pools, or why its embeddings can't be served; both None if it is no embedding model.

    `read` gives a file's bytes, None if there is none. `config` is the model's config.json.
    """
    listed = _parsed(read(MODULES_FILE))
    if listed is None:
        return None, None
    modules = [module for module in listed if isinstance(module, dict)] if isinstance(listed, list) else []
    kinds = [str(module.get("type")).rpartition(".")[2] for module in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        return None, _refusal(f"{MODULES_FILE} lists {', '.join(kinds)[:100] or 'nothing'}")
    if config.get("use_bidirectional_attention") or config.get("is_causal") is False:
        return None, _refusal("its tokens attend to later ones")
    folder = modules[1].get("path")
    if not isinstance(folder, str) or not _FOLDER.fullmatch(folder):
        return None, _refusal(f"{MODULES_FILE} names no folder for Pooling")
    described = _parsed(read(f"{folder}/config.json"))
    mode = _mode(described) if isinstance(described, dict) else None
    if mode is None:
        return None, _refusal(f"{folder}/config.json names no way of pooling that p2pinfer knows")
    return Pooling(mode=mode, is_normalized=len(kinds) == 3), None


def _mode(described: Mapping[str, Any]) -> Mode | None:
    """The one way; None for several, which would make a longer vector, and for an unknown one."""
    if "pooling_mode" in described:
        named = described["pooling_mode"]
        return _MODES.get(named) if isinstance(named, str) else None
    flags = {name for name, value in described.items() if name.startswith("pooling_mode_") and value}
    ways = [_MODES[way] for flag, way in _FLAGS.items() if flags == {flag}]
    return ways[0] if ways else None


def _parsed(data: bytes | None) -> Any:
    """A file's JSON; an empty object if it is none."""
    if data is None:
        return None
    try:
        return read_json(data)
    except ValueError:
        return {}


def _refusal(reason: str) -> str:
    return f"embeddings of this model can't be served: {reason}"

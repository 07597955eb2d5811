"""From the name of a model to its weights: a path or a model id, and the format that reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from p2pinfer.errors import ModelError
from p2pinfer.model.formats import hub
from p2pinfer.model.formats.gguf.file import GgufFile
from p2pinfer.model.formats.hf_folder import HfFolder
from p2pinfer.model.formats.weights import WeightSource


def locate(model: str, progress: Callable[[str], None]) -> Path:
    """The file or folder of `model`; a model id is downloaded unless the local cache has it.

    Raises ModelError.
    """
    path = Path(model).expanduser()
    if path.exists():
        return path.resolve()
    looks_like_path = model.startswith((".", "/", "~")) or model.endswith(".gguf") or model.count("/") > 1
    if looks_like_path:
        raise ModelError(f"there is no file or folder {model}")
    return hub.fetch(model, progress)


def open_source(model: str, path: Path) -> WeightSource:
    """The weights at `path`. Raises ModelError if they can't be read."""
    if path.is_dir():
        return HfFolder(path, Path(model).name if Path(model).expanduser().exists() else model)
    if path.suffix == ".gguf":
        return GgufFile(path)
    raise ModelError(f"{path} is neither a folder nor a .gguf file")

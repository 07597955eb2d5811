"""From the name of a model to its weights: a path or a model id, and the format that reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from p2pinfer.errors import ModelError
from p2pinfer.model.formats.gguf.file import GgufFile
from p2pinfer.model.formats.hf.snapshot import cached_snapshot
from p2pinfer.model.formats.hf_folder import HfFolder
from p2pinfer.model.formats.hub.model import HubModel
from p2pinfer.model.formats.hub.repository import HubRepository, find_repository
from p2pinfer.model.formats.weights import WeightSource
from p2pinfer.model.layer_store.origin import Origin

Progress = Callable[[str], None]
Received = Callable[[int], None]
"""Told of bytes that came from the hub."""

_PATH_BEGINNINGS = ("/", "./", "../", "~", ".\\", "..\\")
_PATH_ENDS = ("/", ".gguf", ".safetensors")


def is_path(text: str) -> bool:
    """True if `text` can only be meant as a path, or as a file, whether it exists or not.

    `org/name` is none: a hub id looks like that. More slashes than one are a path.
    """
    return (
        text in (".", "..")
        or text.startswith(_PATH_BEGINNINGS)
        or text.lower().endswith(_PATH_ENDS)
        or text.count("/") > 1
    )


def is_local(model: str) -> bool:
    """True if a user means a file or folder of this machine, whether it exists or not."""
    try:
        return is_path(model) or Path(model).expanduser().exists()
    except (OSError, RuntimeError, ValueError):  # a name that no file can have; no home
        return False


def locate_here(model: str, revision: str | None = None) -> Path | None:
    """The file or folder of `model` on this machine; None for a model id that the local cache lacks.

    Raises ModelError for what is neither a path nor a model id.
    """
    path = Path(model).expanduser()
    if path.exists():
        return path.resolve()
    if is_path(model):
        raise ModelError(f"there is no file or folder {model}")
    cached = cached_snapshot(model, revision)
    if cached is None:
        return None
    try:
        HfFolder(cached, model)
    except ModelError:  # parts of it were never downloaded
        return None
    return cached


def locate(model: str, revision: str | None = None) -> Path | HubRepository:
    """Where `model` is: on this machine, or else on the hub, which is asked one question.

    Raises ModelError, and HubUnreachableError if the hub doesn't answer.
    """
    return locate_here(model, revision) or find_repository(model, revision)


def open_source(
    model: str, place: Path | HubRepository, progress: Progress, *, on_received: Received | None = None
) -> WeightSource:
    """The weights at a place. Raises ModelError.

    `progress` gets a line on what came from the hub now and then; `on_received`, if it is given, gets the
    bytes of each piece instead, maybe in another thread. What they raise ends the read.
    """
    if isinstance(place, HubRepository):
        return HubModel(place, progress, on_received=on_received)
    if place.is_dir():
        return HfFolder(place, Path(model).name if Path(model).expanduser().exists() else model)
    if place.suffix == ".gguf":
        return GgufFile(place)
    raise ModelError(f"{place} is neither a folder nor a .gguf file")


def source_of(
    origin: Origin, progress: Progress, *, on_received: Received | None = None
) -> WeightSource | None:
    """The weights that a store was converted from; None if they lie on no hub.

    The local cache is read if it has them. `progress` and `on_received` are those of `open_source`. Raises
    ModelError, and HubUnreachableError.
    """
    if origin.hub_id is None:
        return None
    cached = cached_snapshot(origin.hub_id, origin.revision)
    if cached is not None:
        try:
            return HfFolder(cached, origin.hub_id)
        except ModelError:  # parts of it were never downloaded
            pass
    return HubModel(find_repository(origin.hub_id, origin.revision), progress, on_received=on_received)

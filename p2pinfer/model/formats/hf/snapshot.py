"""The local Hugging Face cache: which folder is a model's snapshot, and which model a snapshot is."""

from __future__ import annotations

import re
from pathlib import Path

from p2pinfer.errors import ModelError

_COMMIT = re.compile(r"[0-9a-f]{40}")


def cached_snapshot(model_id: str, revision: str | None = None) -> Path | None:
    """The folder of a model's snapshot in the local cache, whole or not. No network is needed.

    Raises ModelError if it is no model id.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model_id, revision=revision, local_files_only=True))
    except HFValidationError as error:
        raise ModelError(f"{model_id!r} is neither a folder, nor a .gguf file, nor a model id") from error
    except (LocalEntryNotFoundError, OSError):
        return None


def hub_place(folder: Path) -> tuple[str, str] | None:
    """The id and the commit of a snapshot, by the cache's layout: models--ORG--NAME/snapshots/COMMIT."""
    repository, snapshots = folder.parent.parent.name, folder.parent.name
    if snapshots != "snapshots" or not _COMMIT.fullmatch(folder.name):
        return None
    kind, *names = repository.split("--")
    return ("/".join(names), folder.name) if kind == "models" and 1 <= len(names) <= 2 else None

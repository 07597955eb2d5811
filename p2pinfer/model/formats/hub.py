"""Finds a model id: in the local Hugging Face cache, which needs no network, else on the hub."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from p2pinfer.errors import ModelError
from p2pinfer.model.formats.hf_folder import INDEX_FILE, WEIGHTS_FILE, HfFolder
from p2pinfer.model.layer_store.names import TOKENIZER_FILES

_CONFIG_FILES = ("config.json", "generation_config.json", *TOKENIZER_FILES)
_PROBE_SECONDS = 5.0


def fetch(model_id: str, progress: Callable[[str], None]) -> Path:
    """The folder of a model's snapshot, downloaded unless the cache has all of it.

    Raises ModelError if there is no such model, or if the hub can't be reached.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        cached = Path(snapshot_download(model_id, local_files_only=True))
    except HFValidationError as error:
        raise ModelError(f"{model_id!r} is neither a folder, nor a .gguf file, nor a model id") from error
    except (LocalEntryNotFoundError, OSError):
        return _download(model_id, progress)
    try:
        HfFolder(cached, model_id)
    except ModelError:
        return _download(model_id, progress)
    return cached


def _download(model_id: str, progress: Callable[[str], None]) -> Path:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    try:
        # One question first: the downloader itself retries for a long time.
        names = {
            entry.rfilename for entry in HfApi().model_info(model_id, timeout=_PROBE_SECONDS).siblings or []
        }
        patterns = [
            *_CONFIG_FILES,
            INDEX_FILE,
            WEIGHTS_FILE if WEIGHTS_FILE in names else "model-*.safetensors",
        ]
        progress(f"downloading {model_id}")
        return Path(snapshot_download(model_id, allow_patterns=patterns))
    except GatedRepoError as error:
        raise ModelError(f"{model_id}: accept its terms on its Hugging Face page, then log in") from error
    except RepositoryNotFoundError as error:
        raise ModelError(f"the Hugging Face hub has no model {model_id}, or it is private") from error
    except (HfHubHTTPError, OfflineModeIsEnabled, OSError) as error:
        raise _unreachable(model_id, error) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0].startswith("httpx"):  # any version of httpx
            raise _unreachable(model_id, error) from error
        raise


class HubUnreachableError(ModelError):
    """The hub can't be asked now. It may have the model."""


def _unreachable(model_id: str, error: Exception) -> HubUnreachableError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return HubUnreachableError(
        f"{model_id} is no local folder and not in the Hugging Face cache, and the hub can't be reached "
        f"({reason}): give a folder, a .gguf file, or a model id where there is a network"
    )

"""Asks the hub one question: does it have this model, at which commit, and with which files?"""

from __future__ import annotations

import re
from dataclasses import dataclass

from p2pinfer.errors import HubUnreachableError, ModelError
from p2pinfer.outside.url_secrets import masked
from p2pinfer.plain_text import foreign

_QUESTION_SECONDS = 5.0
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class HubRepository:
    """A model on the hub at one commit: whatever is read from it later is of this commit."""

    id: str
    revision: str  # 40 hex digits
    files: frozenset[str]
    endpoint: str | None = None  # None: the hub that HF_ENDPOINT names, or huggingface.co


def find_repository(
    model_id: str, revision: str | None = None, *, endpoint: str | None = None
) -> HubRepository:
    """Ask once, without tries and waits. `revision` is a commit, a tag or a branch; None is `main`.

    Raises ModelError if there is no such model or revision, and HubUnreachableError if nobody answers.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        found = HfApi(endpoint=endpoint).model_info(model_id, revision=revision, timeout=_QUESTION_SECONDS)
    except HFValidationError as error:
        raise ModelError(f"{model_id!r} is neither a folder, nor a .gguf file, nor a model id") from error
    except GatedRepoError as error:
        raise gated(model_id) from error
    except RepositoryNotFoundError as error:
        raise unknown(model_id) from error
    except RevisionNotFoundError as error:
        raise ModelError(f"the Hugging Face hub has {model_id}, but no revision {revision}") from error
    except (HfHubHTTPError, OSError, ValueError) as error:  # ValueError: an answer that is no JSON
        raise unreachable(model_id, error) from error
    except Exception as error:
        if is_http_error(error):
            raise unreachable(model_id, error) from error
        raise
    if not isinstance(found.sha, str) or not _COMMIT.fullmatch(found.sha):
        raise ModelError(f"the hub doesn't say at which commit {model_id} is")
    files = frozenset(entry.rfilename for entry in found.siblings or [] if isinstance(entry.rfilename, str))
    return HubRepository(id=model_id, revision=found.sha, files=files, endpoint=endpoint)


def is_http_error(error: Exception) -> bool:
    """True for an error of the hub's HTTP library, whatever its version is called."""
    return type(error).__module__.partition(".")[0].startswith("httpx")


def gated(model_id: str) -> ModelError:
    """The hub gives the model only to those who have accepted its terms."""
    return ModelError(f"{model_id}: accept its terms on its Hugging Face page, then log in")


def unknown(model_id: str) -> ModelError:
    """There is no such model for this user."""
    return ModelError(f"the Hugging Face hub has no model {model_id}, or it is private")


def said_by(error: Exception) -> str:
    """The first line of what a library says, which may quote the hub."""
    return foreign(masked(str(error).splitlines()[0]) if str(error) else type(error).__name__)


def unreachable(model_id: str, error: Exception) -> HubUnreachableError:
    """The hub doesn't answer the first question."""
    return HubUnreachableError(
        f"{model_id} is no local folder and not in the Hugging Face cache, and the hub can't be reached "
        f"({said_by(error)}): give a folder, a .gguf file, or a model id where there is a network"
    )

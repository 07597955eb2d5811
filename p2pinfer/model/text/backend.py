"""Loads a tokenizer.json with the `tokenizers` library, and makes of it what `transformers` makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2pinfer.errors import ModelError
from p2pinfer.model.families import text_config
from p2pinfer.model.layer_store.names import CONFIG_FILE, GENERATION_CONFIG_FILE
from p2pinfer.model.text.files import MOST_BYTES, read_object
from p2pinfer.model.text.named_tokens import NamedTokens

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend


def load_backend(path: Path, named: NamedTokens) -> Backend:
    """Read tokenizer.json, and mark the special tokens that other files name. Raises ModelError.

    What begins and ends every text is tokenizer.json's matter alone: where there is one, `transformers` looks
    at `add_bos_token` of no other file.
    """
    from tokenizers import Tokenizer as Backend

    try:
        size = path.stat().st_size
    except OSError as error:
        raise ModelError(
            f"{path.parent} has no readable {path.name} ({error.strerror or error}): let `transformers` "
            "write one, with AutoTokenizer.from_pretrained(folder).save_pretrained(folder), and convert again"
        ) from error
    if size > MOST_BYTES:
        raise ModelError(f"{path} has {size >> 20} MiB: a tokenizer has {MOST_BYTES >> 20} MiB at most")
    with safely(f"read {path}"):
        backend = Backend.from_file(str(path))
        backend.no_truncation()
        backend.no_padding()
        _mark_special(backend, (*named.roles.values(), *named.others))
    return backend


def end_tokens(folder: Path, backend: Backend, named: NamedTokens) -> frozenset[int]:
    """The tokens that end an answer: those of generation_config.json, else config.json; and `eos_token`."""
    generation = read_object(folder / GENERATION_CONFIG_FILE)
    config = read_object(folder / CONFIG_FILE)
    said: Any = None
    for fields in (generation, config, text_config(config)):
        said = fields.get("eos_token_id") if said is None else said
    ends = said if isinstance(said, list) else [] if said is None else [said]
    for end in ends:
        if isinstance(end, bool) or not isinstance(end, int) or end < 0:
            raise ModelError(f"{folder} names {str(end)[:40]!r} as eos_token_id, which is no token")
    own = backend.token_to_id(named.roles["eos_token"]) if "eos_token" in named.roles else None
    return frozenset(ends) | ({own} if own is not None else set())


@contextmanager
def safely(what: str) -> Iterator[None]:
    """What the library can't do becomes a ModelError.

    The library raises a bare Exception; where its Rust code panics, an exception that isn't even that.
    """
    try:
        yield
    except ModelError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        said = str(error)[:200]
        raise ModelError(f"the `tokenizers` library can't {what}: {said}") from error


def _mark_special(backend: Backend, texts: tuple[str, ...]) -> None:
    """Mark tokens of the vocabulary as special. Texts that the model has no token for are left out."""
    from tokenizers import AddedToken

    marked = {added.content for added in backend.get_added_tokens_decoder().values()}
    new = [
        text for text in dict.fromkeys(texts) if text not in marked and backend.token_to_id(text) is not None
    ]
    backend.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in new])

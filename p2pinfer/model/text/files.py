"""The small files of a store that describe its texts. They come from strangers: sizes are bounded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from p2pinfer.errors import ModelError
from p2pinfer.model.formats.hf.configs import parse_object

MOST_BYTES = 64 << 20
"""Of one file. The largest tokenizer.json of a family that p2pinfer runs has 34 MB."""


def read_text(path: Path, most_bytes: int = MOST_BYTES) -> str | None:
    """A file's text; None if there is no such file. Raises ModelError."""
    try:
        with path.open("rb") as file:
            data = file.read(most_bytes + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelError(f"can't read {path}: {error.strerror or error}") from error
    if len(data) > most_bytes:
        raise ModelError(f"{path} has more than {most_bytes >> 10} KiB, which no such file needs")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ModelError(f"{path} is not UTF-8: {error}") from error


def read_object(path: Path, most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """The JSON object in a file; empty if there is no such file. Raises ModelError."""
    text = read_text(path, most_bytes)
    return {} if text is None else parse_object(text, str(path))

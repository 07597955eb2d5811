"""What every answer and chunk begins with."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """Names one answer."""

    id: str
    created: int  # Unix seconds
    model: str

    @classmethod
    def new(cls, prefix: str, model: str) -> Self:
        """The heading of an answer that begins now: `chatcmpl-...`."""
        return cls(id=random_id(prefix), created=int(time.time()), model=model)


def random_id(prefix: str) -> str:
    """An id that nobody has."""
    return f"{prefix}{secrets.token_hex(12)}"

"""What the application of a gateway can be told, apart from its models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from p2pinfer.gateway.access.keys import Key
from p2pinfer.gateway.access.origins import KEYLESS_LOOPBACK, OriginRules


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One application's settings."""

    keys: Callable[[], Mapping[str, Key]] | None = None
    """The keys of now, by id; None: everybody may ask."""

    origins: OriginRules = KEYLESS_LOOPBACK

    most_requests: int = 1_024
    """Requests for texts or vectors at the same time, waiting ones included."""

    most_body_bytes: int = 8 << 20

    most_coming_bytes: int = 256 << 20
    """Of all bodies that have come in part, but for files, which go to the disk."""

    most_tokens: int | None = None
    """The most tokens of an answer whose request says nothing; None: as many as the context has."""

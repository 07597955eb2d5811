"""The bounds of the fields of records. Each check raises InvalidRecordError, which names the field."""

from __future__ import annotations

import math
import re

from p2pinfer.errors import InvalidRecordError
from p2pinfer.swarm.records.signed import MAX_LIFETIME_SECONDS

MAX_LAYERS = 4096
_MODEL_HASH = re.compile(r"[0-9a-f]{64}")
_LATEST_TIME = 2.0**40  # Unix seconds; far from where doubles lose their milliseconds


def check_model(model: str) -> None:
    """Check that `model` is a manifest hash: 64 lowercase hex digits."""
    if not _MODEL_HASH.fullmatch(model):
        raise InvalidRecordError("model: a manifest hash is 64 lowercase hex digits")


def check_text(field: str, text: str, *, max_characters: int, required: bool = False) -> None:
    """Check the length, and that a text has no control characters, line breaks or marks of direction."""
    if len(text) > max_characters:
        raise InvalidRecordError(f"{field}: at most {max_characters} characters")
    if not text.isprintable():
        raise InvalidRecordError(f"{field}: only printable characters")
    if required and not text.strip():
        raise InvalidRecordError(f"{field}: must not be empty")


def check_number(field: str, value: float, low: float, high: float) -> None:
    """Check that a number is finite and in [low, high]."""
    if not math.isfinite(value) or not low <= value <= high:
        raise InvalidRecordError(f"{field}: must be between {low:g} and {high:g}")


def check_times(announced_at: float, expires_at: float) -> None:
    """Check that both are times in Unix seconds, in order, and that the lifetime is at most ten minutes."""
    check_number("announced_at", announced_at, 0.0, _LATEST_TIME)
    check_number("expires_at", expires_at, 0.0, _LATEST_TIME)
    if not announced_at < expires_at <= announced_at + MAX_LIFETIME_SECONDS:
        raise InvalidRecordError(f"expires_at: at most {MAX_LIFETIME_SECONDS:g} s after announced_at")


def check_endpoint(endpoint: str) -> None:
    """Check that it is `host:port`, with IPv6 in brackets, without what else gRPC's resolver understands."""
    check_text("endpoints", endpoint, max_characters=255)
    if not _ENDPOINT.fullmatch(endpoint) or not 0 < int(endpoint.rpartition(":")[2]) < 65536:
        raise InvalidRecordError("endpoints: written host:port, like 192.0.2.7:4600 or [2001:db8::7]:4600")


_ENDPOINT = re.compile(r"([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}")

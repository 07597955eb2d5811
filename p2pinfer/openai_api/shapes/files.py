"""`POST /v1/files`, and what is asked of a list."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from p2pinfer.openai_api.shapes.base import Shape

LEAST_EXPIRY_SECONDS = 3_600
MOST_EXPIRY_SECONDS = 2_592_000
MOST_FILES_LISTED = 10_000
MOST_BATCHES_LISTED = 100


def _number(value: Any) -> Any:
    """Forms and addresses have texts only."""
    return (
        int(value)
        if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 16
        else value
    )


WrittenNumber = Annotated[int, BeforeValidator(_number)]


class ExpiresAfter(Shape):
    """When a file is deleted."""

    anchor: Literal["created_at"]
    """From when the seconds count: since the file was made."""

    seconds: Annotated[WrittenNumber, Field(strict=True, ge=LEAST_EXPIRY_SECONDS, le=MOST_EXPIRY_SECONDS)]


class FileFields(Shape):
    """The fields beside the file itself."""

    purpose: Literal["batch"]
    """What the file is for: the input of batches. Other purposes have no use here."""

    expires_after: ExpiresAfter | None = None
    """By default files are deleted after 30 days."""


class FileQuery(Shape):
    """Which files to list."""

    limit: Annotated[WrittenNumber, Field(ge=1, le=MOST_FILES_LISTED)] = MOST_FILES_LISTED
    after: str | None = None
    """The last file of the page before."""
    order: Literal["asc", "desc"] = "desc"
    purpose: str | None = None


class BatchQuery(Shape):
    """Which batches to list."""

    limit: Annotated[WrittenNumber, Field(ge=1, le=MOST_BATCHES_LISTED)] = 20
    after: str | None = None
    """The last batch of the page before."""

"""Bytes that are rendered once and sent often: plain, compressed, or not at all (304)."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from typing import Self

from starlette.requests import Request
from starlette.responses import Response

_LEAST_TO_COMPRESS_BYTES = 1_000
_LEVEL = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """The bytes of an answer, and their ETag."""

    raw: bytes
    compressed: bytes | None  # None: too short to gain
    media_type: str
    etag: str

    @classmethod
    def of(cls, content: str | bytes, media_type: str) -> Self:
        """Compress and hash. Invalid text (a lone surrogate) becomes `?`."""
        raw = content.encode(errors="replace") if isinstance(content, str) else content
        return cls(
            raw=raw,
            compressed=gzip.compress(raw, _LEVEL) if len(raw) >= _LEAST_TO_COMPRESS_BYTES else None,
            media_type=media_type,
            etag=f'W/"{hashlib.sha256(raw).hexdigest()[:24]}"',
        )

    def answer(self, request: Request, *, status: int = 200) -> Response:
        """Answer a request. Browsers ask each time whether their copy is still the newest."""
        headers = {"etag": self.etag, "cache-control": "no-cache", "vary": "accept-encoding"}
        if status == 200 and _is_known(request.headers.get("if-none-match", ""), self.etag):
            return Response(status_code=304, headers=headers)
        content = self.raw
        if self.compressed is not None and _takes_gzip(request.headers.get("accept-encoding", "")):
            content = self.compressed
            headers["content-encoding"] = "gzip"
        return Response(content, status_code=status, headers=headers, media_type=self.media_type)


def _is_known(if_none_match: str, etag: str) -> bool:
    known = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in known or etag.removeprefix("W/") in known


def _takes_gzip(accept_encoding: str) -> bool:
    for choice in accept_encoding.lower().split(","):
        name, _, weight = choice.partition(";")
        if name.strip() == "gzip":
            return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False

"""A page's styles, scripts and icon, read once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from p2pinfer.http.body import Body

_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def static_files(folder: Path) -> Mapping[str, Body]:
    """A folder's files by name. Only these names exist, so no request reaches outside the folder."""
    return {
        path.name: Body.of(path.read_bytes(), _MEDIA_TYPES[path.suffix])
        for path in sorted(folder.iterdir())
        if path.suffix in _MEDIA_TYPES
    }

"""The page's own styles, scripts and icon, read once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from p2pinfer.health.web.body import Body

_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def static_files() -> Mapping[str, Body]:
    """By name. Nothing outside the folder can be asked for: there is no path, only these names."""
    folder = Path(__file__).parent / "static"
    return {
        path.name: Body.of(path.read_bytes(), _MEDIA_TYPES[path.suffix])
        for path in sorted(folder.iterdir())
        if path.suffix in _MEDIA_TYPES
    }

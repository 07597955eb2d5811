"""The chat page's files, read once. Their addresses contain their version, so that browsers keep them.

Only `/` is asked for anew each time. A page that is open while the gateway is renewed never mixes two
versions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from p2pinfer.http.body import Body

FOLDER = Path(__file__).parent / "static"

_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_INDEX = "index.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFiles:
    """The page itself, and what it loads, by its path below `/page/`."""

    index: Body
    parts: Mapping[str, Body]


@cache
def page_files() -> PageFiles:
    """Read the folder. Only these names exist, so no request reaches outside it."""
    contents = {
        path.relative_to(FOLDER).as_posix(): path.read_bytes()
        for path in sorted(FOLDER.rglob("*"))
        if path.suffix in _MEDIA_TYPES
    }
    index = contents.pop(_INDEX).decode()
    version = _version(contents)
    return PageFiles(
        index=Body.of(_filled(index, version, contents), _MEDIA_TYPES[".html"]),
        parts={
            f"{version}/{name}": Body.of(content, _MEDIA_TYPES[Path(name).suffix])
            for name, content in contents.items()
        },
    )


def _version(contents: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, content in contents.items():
        digest.update(f"{name} {len(content)} ".encode())
        digest.update(content)
    return digest.hexdigest()[:12]


def _filled(index: str, version: str, names: Mapping[str, bytes]) -> str:
    """The page with its version, and with all scripts announced: they load at once, not one after another."""
    preloads = "\n".join(
        f'<link rel="modulepreload" href="page/VERSION/{name}">' for name in names if name.endswith(".js")
    )
    return index.replace("<!-- PRELOADS -->", preloads).replace("VERSION", version)

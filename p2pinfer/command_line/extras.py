"""Libraries that only some programs need, and a line that names those that are missing.

setup.cfg has the same names as extras: `pip install 'p2pinfer[health]'`. What every program needs is
installed with the package itself.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Mapping

from p2pinfer.errors import UsageError

EXTRAS: Mapping[str, Mapping[str, str]] = {
    "server": {
        "aiohttp": "aiohttp",
        "aiomqtt": "aiomqtt",
        **({"dbus_fast": "dbus-fast"} if sys.platform == "linux" else {}),
        "hass_client": "hass-client",
    },
    "health": {
        "fastapi": "fastapi",
        "httptools": "httptools",
        "prometheus_client": "prometheus-client",
        "uvicorn": "uvicorn",
    },
    "gateway": {
        "fastapi": "fastapi",
        "httptools": "httptools",
        "llguidance": "llguidance",
        "prometheus_client": "prometheus-client",
        "python_multipart": "python-multipart",
        "uvicorn": "uvicorn",
    },
    "documents": {
        "llguidance": "llguidance",
        "pydantic": "pydantic",
    },
}
"""Extra -> module -> the name that pip knows it by."""


_BASE = frozenset(
    [
        "base58",
        "bitsandbytes",
        "cryptography",
        "google",
        "gguf",
        "grpc",
        "hivemind",
        "msgpack",
        "numpy",
        "platformdirs",
        "safetensors",
        "tokenizers",
        "torch",
        "transformers",
        "wcwidth",
    ]
)
"""Modules that come with the package itself: they are missing where it is run without being installed."""


class MissingLibrariesError(UsageError):
    """Libraries that the program needs are not installed. The message goes on after the program's name."""


def require(extra: str) -> None:
    """Raise MissingLibrariesError, which names every missing library of `extra`, without importing any."""
    missing = [package for module, package in EXTRAS[extra].items() if not _is_installed(module)]
    if missing:
        raise MissingLibrariesError(_needs(missing, extra))


def missing_library(module: str) -> MissingLibrariesError | None:
    """What to say after `import module` has failed. None if `module` isn't one that p2pinfer installs."""
    top = module.partition(".")[0]
    if top in _BASE:
        return MissingLibrariesError(f"needs {top}: pip install p2pinfer; in a checkout, scripts/setup")
    for extra, packages in EXTRAS.items():
        if top in packages:
            return MissingLibrariesError(_needs([packages[top]], extra))
    return None


def _needs(packages: Iterable[str], extra: str) -> str:
    *others, last = packages
    names = f"{', '.join(others)} and {last}" if others else last
    return f"needs {names}: pip install 'p2pinfer[{extra}]'"


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False

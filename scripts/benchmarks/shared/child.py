"""How a benchmark starts a module of this checkout as a process of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from p2pinfer.errors import P2PInferError

ROOT = Path(__file__).parents[3]
LAST_CHARACTERS = 2000
"""As much of what a child wrote to its standard error is shown."""


class ChildError(P2PInferError):
    """A child process ended, or stayed silent; the message has the last words of its standard error."""


def module_command(module: str, *arguments: str) -> list[str]:
    """`python -m MODULE ARGUMENTS`, for an environment as `module_environment` gives it."""
    return [sys.executable, "-m", module, *arguments]


def module_environment(**more: str) -> dict[str, str]:
    """This process's environment in which Python finds the checkout from every folder, and `more`."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": path} | more

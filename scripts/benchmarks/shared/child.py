"""How a benchmark starts a module of this checkout as a process of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from p2pinfer.errors import P2PInferError

ROOT = Path(__file__).parents[3]
LAST_CHARACTERS = 2000
"""The most that an error message shows of a child's standard error."""


class ChildError(P2PInferError):
    """A child process ended or was silent; the message has the end of its standard error."""


def module_command(module: str, *arguments: str) -> list[str]:
    """`python -m MODULE ARGUMENTS`, for an environment as `module_environment` gives it."""
    return [sys.executable, "-m", module, *arguments]


def module_environment(**more: str) -> dict[str, str]:
    """This process's environment, with which Python finds the checkout from every folder, and `more`."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": path} | more

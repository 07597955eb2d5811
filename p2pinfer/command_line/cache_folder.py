"""`--cache-folder`: where a program keeps models."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from p2pinfer.command_line.flags import path
from p2pinfer.folders import user_cache_folder


def add_cache_folder(group: argparse._ActionsContainer, *, kind: Callable[[str], Path] = path) -> None:
    """Add the flag. `kind` reads what is written behind it."""
    group.add_argument(
        "--cache-folder",
        type=kind,
        default=user_cache_folder(),
        metavar="FOLDER",
        help="where fetched and converted models are kept (default: %(default)s)",
    )

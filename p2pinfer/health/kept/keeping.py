"""The files that a page keeps across restarts: its history and the leaderboard, for each swarm its own."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from p2pinfer.database import Database, FileKind
from p2pinfer.errors import DatabaseError
from p2pinfer.health.kept.contributions import MAX_SESSIONS, Contributions
from p2pinfer.health.kept.history import HISTORY, History
from p2pinfer.health.kept.leaderboard import CONTRIBUTIONS
from p2pinfer.health.kept.swarm_folder import find_folder, own_folder, peers_of

logger = logging.getLogger(__name__)

_HISTORY = "history.sqlite"
_CONTRIBUTIONS = "contributions.sqlite"


@contextmanager
def keeping(root: Path, initial_peers: Sequence[str]) -> Iterator[tuple[History, Contributions]]:
    """Open both in the swarm's folder in `root`, which is made if need be. One page at a time holds them.

    Raises UsageError if the folder can't be made, or another page holds it.
    """
    with own_folder(root, peers_of(initial_peers)) as folder:
        _tell_of_older_files(root, folder)
        with (
            closing(History.open(folder / _HISTORY)) as history,
            closing(Contributions.open(folder / _CONTRIBUTIONS)) as contributions,
        ):
            yield history, contributions


@contextmanager
def copied(root: Path, initial_peers: Sequence[str]) -> Iterator[tuple[History, Contributions]]:
    """An empty history and a copy of the leaderboard, for a report beside a running page. No file changes."""
    folder = find_folder(root, peers_of(initial_peers))
    with (
        closing(History(_empty(HISTORY))) as history,
        closing(_copy_of(folder / _CONTRIBUTIONS)) as contributions,
    ):
        yield history, contributions


def _copy_of(path: Path) -> Contributions:
    try:
        return Contributions(Database.copy_of(path, CONTRIBUTIONS), MAX_SESSIONS)
    except DatabaseError as error:  # a report doesn't need it
        logger.warning("the report has no leaderboard: %s", error)
        return Contributions(_empty(CONTRIBUTIONS), MAX_SESSIONS)


def _empty(kind: FileKind) -> Database:
    return Database.copy_of(Path(os.devnull) / "none", kind)  # there can't be such a file


def _tell_of_older_files(root: Path, folder: Path) -> None:
    """Earlier versions kept one set of files for all swarms. To which swarm they belong isn't known."""
    older = [name for name in (_HISTORY, _CONTRIBUTIONS) if (root / name).exists()]
    if older and not any((folder / name).exists() for name in older):
        logger.warning(
            "%s holds files of an earlier version, which are not used: move %s to %s if they belong to it",
            root,
            " and ".join(older),
            folder,
        )

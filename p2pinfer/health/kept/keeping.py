"""The files that a page keeps across restarts: its history and the leaderboard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from p2pinfer.errors import UsageError
from p2pinfer.health.kept.contributions import Contributions
from p2pinfer.health.kept.history import History


@contextmanager
def keeping(folder: Path) -> Iterator[tuple[History, Contributions]]:
    """Open both in `folder`, which is created if it is missing. Raises UsageError if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"--data-folder {folder}: the folder can't be created ({error.strerror}); choose another"
        ) from error
    with (
        closing(History.open(folder / "history.sqlite")) as history,
        closing(Contributions.open(folder / "contributions.sqlite")) as contributions,
    ):
        yield history, contributions

"""What a page keeps across restarts: its history and the leaderboard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from p2pinfer.errors import UsageError
from p2pinfer.health.kept.contributions import Contributions
from p2pinfer.health.kept.history import History


@contextmanager
def keeping(folder: Path) -> Iterator[tuple[History, Contributions]]:
    """Open both in this folder, which is made if it isn't there. Raises UsageError if it can't be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"--data-folder {folder}: it can't be made ({error.strerror}); choose another"
        ) from error
    with (
        closing(History.open(folder / "history.sqlite")) as history,
        closing(Contributions.open(folder / "contributions.sqlite")) as contributions,
    ):
        yield history, contributions

"""How far a job is, in one line. Pure."""

from __future__ import annotations

from p2pinfer.command_line.progress import BLOCKS
from p2pinfer.command_line.tables import display_width, fit
from p2pinfer.documents.running.progress import Progress
from p2pinfer.plain_text import printable, seconds_in_words, short_count

_MOST_BAR_COLUMNS = 24
_LEAST_BAR_COLUMNS = 8
_MOST_LEFT_SECONDS = 30 * 86_400.0
"""A longer time left isn't said: the rate of a minute can't tell it."""

_QUIET_SECONDS = 20.0


def progress_words(progress: Progress, quiet_seconds: float = 0.0) -> str:
    """`312 of 1,000, 2 failed, 230 tokens/s, 3 min 20 s left, 4.12M layer-tokens`, the first things first.

    `quiet_seconds` is for how long no document has ended: after a while the speed of before says nothing.
    """
    counts = progress.counts
    words = [f"{counts.completed + counts.failed:,} of {counts.total:,}"]
    if counts.failed:
        words.append(f"{counts.failed:,} failed")
    if progress.waiting_for:
        words.append(f"waiting: {printable(progress.waiting_for)}")
    elif quiet_seconds >= _QUIET_SECONDS:
        words.append(f"no answer for {seconds_in_words(quiet_seconds)}, {progress.under_way:,} under way")
    else:
        if progress.tokens_per_second is not None and progress.tokens_per_second >= 1:
            words.append(f"{progress.tokens_per_second:,.0f} tokens/s")
        elif progress.under_way:
            words.append(f"{progress.under_way:,} under way")
        left = progress.seconds_left
        if counts.waiting and left is not None and left < _MOST_LEFT_SECONDS:
            words.append(f"{seconds_in_words(left)} left")
    words.append(f"{short_count(progress.layer_tokens)} layer-tokens")
    return ", ".join(words)


def progress_line(
    progress: Progress, quiet_seconds: float = 0.0, *, columns: int, signs: tuple[str, str] = BLOCKS
) -> str:
    """The same behind a bar, in at most `columns` terminal columns. `signs` are for done and not done.

    Where room is short the bar goes first, then the end of the words.
    """
    words = progress_words(progress, quiet_seconds)
    counts = progress.counts
    room = min(_MOST_BAR_COLUMNS, columns - display_width(words) - 1)
    if counts.total == 0 or room < _LEAST_BAR_COLUMNS:
        return fit(words, columns).rstrip()
    filled = room * (counts.completed + counts.failed) // counts.total
    return f"{signs[0] * filled}{signs[1] * (room - filled)} {words}"

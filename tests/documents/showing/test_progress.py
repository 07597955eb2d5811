"""How far a job is, in one line: on a terminal, and in a log."""

from __future__ import annotations

from dataclasses import replace

import pytest

from p2pinfer.command_line.tables import display_width
from p2pinfer.documents.jobs.job import Counts, Spent
from p2pinfer.documents.running.progress import Progress
from p2pinfer.documents.showing.progress_line import ProgressLine
from p2pinfer.documents.showing.progress_text import progress_line, progress_words

PROGRESS = Progress(
    counts=Counts(total=1_000, completed=310, failed=2),
    spent=Spent(prefill_tokens=130_000, decode_tokens=7_000),
    layers=30,
    under_way=48,
    documents_per_second=3.44,
    tokens_per_second=1_234.4,
)
WAITING = replace(PROGRESS, waiting_for="no route: layers 0:10\nare missing")


def test_everything_that_is_known_is_said():
    assert progress_words(PROGRESS) == (
        "312 of 1,000, 2 failed, 1,234 tokens/s, 3 min 20 s left, 4.11M layer-tokens"
    )


def test_what_is_not_known_is_left_out():
    fresh = replace(PROGRESS, documents_per_second=None, tokens_per_second=None)

    assert progress_words(fresh) == "312 of 1,000, 2 failed, 48 under way, 4.11M layer-tokens"
    slow = replace(PROGRESS, documents_per_second=1e-9, tokens_per_second=0.2)
    assert "left" not in progress_words(slow)


def test_a_job_that_waits_says_for_what():
    """In one line, and nothing of a speed."""
    assert progress_words(WAITING) == (
        "312 of 1,000, 2 failed, waiting: no route: layers 0:10?are missing, 4.11M layer-tokens"
    )


def test_a_speed_of_before_is_not_told_when_nothing_comes():
    """As while the servers of a route are gone, and others are looked for."""
    now, said = 0.0, []
    line = ProgressLine(speak=said.append, clock=lambda: now)
    while now < 50:
        line.show(PROGRESS)
        now += 5

    assert said[0].startswith("312 of 1,000, 2 failed, 1,234 tokens/s")
    assert said[-1] == "312 of 1,000, 2 failed, no answer for 40 s, 48 under way, 4.11M layer-tokens"


@pytest.mark.parametrize("columns", [20, 30, 79, 100, 200])
@pytest.mark.parametrize("progress", [PROGRESS, WAITING, replace(PROGRESS, counts=Counts())])
def test_the_line_fits_every_terminal(columns: int, progress: Progress):
    assert display_width(progress_line(progress, columns=columns)) <= columns


def test_the_bar_is_full_when_all_have_ended_and_not_before():
    almost = replace(PROGRESS, counts=Counts(total=1_000, completed=999))
    done = replace(PROGRESS, counts=Counts(total=1_000, completed=998, failed=2))

    assert "." in progress_line(almost, columns=120, signs=("#", ".")).split()[0]
    assert set(progress_line(done, columns=120, signs=("#", ".")).split()[0]) == {"#"}


def test_a_log_has_few_lines_and_fewer_later():
    """Of a job that takes three days, looked at twice a second."""
    said, now = [], 0.0
    line = ProgressLine(speak=said.append, clock=lambda: now)
    after_a_minute = None
    while now < 3 * 86_400:
        line.show(PROGRESS)
        now += 0.5
        if after_a_minute is None and now > 60:
            after_a_minute = len(said)

    assert after_a_minute == 5
    assert len(said) < 500


def test_a_log_says_at_once_that_the_job_waits_and_that_it_goes_on():
    said: list[str] = []
    line = ProgressLine(speak=said.append, clock=lambda: 0.0)
    for progress in (PROGRESS, WAITING, WAITING, PROGRESS, PROGRESS):
        line.show(progress)

    assert len(said) == 2
    assert "waiting" in said[0]

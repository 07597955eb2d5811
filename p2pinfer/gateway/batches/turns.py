"""Whose batch is next. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from p2pinfer.documents.jobs.queue import Unfinished


def next_turns(
    ready: Sequence[Unfinished], *, running: Collection[str], last_turns: Mapping[str, float], places: int
) -> list[Unfinished]:
    """The batches to begin now: at most `places`, one for each owner, the oldest of his.

    `ready` are batches that could run, oldest first; `running` are owners with one that does. Owners who
    have waited longest come first: `last_turns` says when each had a turn, whatever the clock.
    """
    firsts: dict[str, Unfinished] = {}
    for job in ready:
        if job.owner not in running:
            firsts.setdefault(job.owner, job)
    waited = sorted(firsts.values(), key=lambda job: (last_turns.get(job.owner, 0.0), job.created_at))
    return waited[: max(0, places)]

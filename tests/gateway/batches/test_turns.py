"""Whose batch is next."""

from __future__ import annotations

from p2pinfer.documents.jobs.job import JobState
from p2pinfer.documents.jobs.queue import Unfinished
from p2pinfer.gateway.batches.turns import next_turns


def job(owner: str, created_at: float) -> Unfinished:
    return Unfinished(
        id=f"{owner}-{created_at:g}", owner=owner, state=JobState.VALIDATING, created_at=created_at,
        expires_at=None, model="tiny",
    )  # fmt: skip


READY = [job("anna", 1), job("anna", 2), job("anna", 3), job("ben", 4), job("cleo", 5)]


def ids(jobs: list[Unfinished]) -> list[str]:
    return [one.id for one in jobs]


def test_each_owner_has_one_at_a_time_the_oldest():
    assert ids(next_turns(READY, running=(), last_turns={}, places=9)) == ["anna-1", "ben-4", "cleo-5"]
    assert ids(next_turns(READY, running=("anna", "cleo"), last_turns={}, places=9)) == ["ben-4"]


def test_who_has_waited_longest_is_first():
    """A thousand batches of one key hold nobody else's up."""
    turns = {"anna": 20.0, "ben": 10.0}
    assert ids(next_turns(READY, running=(), last_turns=turns, places=2)) == ["cleo-5", "ben-4"]


def test_there_are_only_so_many_places():
    assert next_turns(READY, running=(), last_turns={}, places=0) == []
    assert next_turns(READY, running=(), last_turns={}, places=-1) == []

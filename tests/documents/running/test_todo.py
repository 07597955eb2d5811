"""Which document is next."""

from __future__ import annotations

import math

from p2pinfer.documents.jobs.job import Spent
from p2pinfer.documents.jobs.job_store import JobStore
from p2pinfer.documents.running.todo import TodoList, read_page
from tests.documents.some_jobs import answer, begun


def taken(todo: TodoList, now: float, *, fresh_first: bool = False) -> int:
    return todo.take(now, fresh_first=fresh_first).document.number


def test_pages_hold_what_waits_and_what_was_kept(store: JobStore):
    """An empty one is the last."""
    job = begun(store, 100)
    store.finish(job.id, [answer(number) for number in range(98)])
    store.keep_part(job.id, 99, "a", "text", Spent())
    store.note_attempts(job.id, {99: "no"})

    [first, second] = read_page(store, job.id, -1)
    assert (first.document.number, first.parts, first.attempts) == (98, {}, 0)
    assert (second.document.number, second.parts, second.attempts) == (99, {"a": "text"}, 1)
    assert read_page(store, job.id, 99) == []


def test_what_is_tried_again_comes_first_when_its_time_has_come(store: JobStore):
    todo = TodoList()
    assert todo.wants_page and todo.has_fresh and todo.seconds_left(0.0) == math.inf
    todo.add_page(read_page(store, begun(store, 5).id, -1))
    one = todo.take(0.0, fresh_first=False)
    todo.add_again(one, 10.0, is_doubtful=False)

    assert [taken(todo, 9.0), taken(todo, 10.0)] == [1, 0]
    todo.add_again(one, 10.0, is_doubtful=False)
    assert [taken(todo, 10.0, fresh_first=True) for _ in range(3)] == [2, 3, 4]
    assert todo.seconds_left(4.0) == 6.0
    assert taken(todo, 10.0, fresh_first=True) == 0
    todo.add_page([])
    assert todo.is_empty and not todo.has_fresh


def test_what_failed_while_nothing_was_answered_comes_after_fresh_ones_until_one_is(store: JobStore):
    todo = TodoList()
    todo.add_page(read_page(store, begun(store, 6).id, -1))
    for _ in range(2):
        todo.add_again(todo.take(0.0, fresh_first=False), 1.0, is_doubtful=True)

    assert taken(todo, 5.0) == 2
    todo.trust()
    assert [taken(todo, 5.0) for _ in range(3)] == [0, 1, 3]

"""Tasks end with their owner, and what goes wrong in one is the owner's to know."""

from __future__ import annotations

import asyncio
import logging

import pytest

from p2pinfer.tasks import Nursery, all_of, cancel_and_wait, ended, ending, first_of, undisturbed, unless


class Work:
    """Something that goes on for ever, and notes that it was ended."""

    def __init__(self) -> None:
        self.has_begun = asyncio.Event()
        self.was_ended = False

    async def go_on(self) -> None:
        self.has_begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # tidying up takes a moment
            self.was_ended = True


async def fail(after: int = 0) -> None:
    for _ in range(after):
        await asyncio.sleep(0)
    raise ValueError("a fault")


async def test_ending_tasks_waits_until_they_have_tidied_up():
    work = Work()
    task = asyncio.create_task(work.go_on())
    await work.has_begun.wait()
    await cancel_and_wait(task, None)
    assert task.cancelled() and work.was_ended


async def test_an_owner_that_is_cancelled_again_still_waits_for_what_it_ends():
    """Impatience ends an owner no sooner than its tasks: nothing runs on without one."""
    gate, work = asyncio.Event(), Work()

    async def tidy_slowly() -> None:
        try:
            await work.go_on()
        finally:
            await gate.wait()

    task = asyncio.create_task(tidy_slowly())
    await work.has_begun.wait()
    owner = asyncio.create_task(cancel_and_wait(task))
    await asyncio.sleep(0)
    owner.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert owner.done() is task.done()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await owner
    assert task.done()


async def test_what_an_ended_task_raises_stays_with_the_task():
    task = asyncio.create_task(fail())
    await asyncio.wait({task})
    await cancel_and_wait(task)
    assert isinstance(task.exception(), ValueError)


async def test_work_beside_a_block_ends_with_it_also_when_the_block_fails():
    work = Work()

    async def block() -> None:
        async with ending(asyncio.create_task(work.go_on())):
            await work.has_begun.wait()
            raise KeyError

    with pytest.raises(KeyError):
        await block()
    assert work.was_ended


async def test_the_first_end_ends_everything():
    work = Work()
    await first_of(work.go_on(), work.has_begun.wait())
    assert work.was_ended


async def test_the_first_error_ends_everything_and_is_raised():
    work = Work()
    with pytest.raises(ValueError, match="a fault"):
        await first_of(work.go_on(), fail(after=3))
    assert work.was_ended


async def test_doing_everything_at_once_returns_the_results_in_order():
    async def give(value: int) -> int:
        for _ in range(3 - value):
            await asyncio.sleep(0)
        return value

    assert await all_of(give(1), give(2), give(3)) == [1, 2, 3]


async def test_an_error_ends_whatever_else_was_to_be_done():
    work = Work()
    with pytest.raises(ValueError, match="a fault"):
        await all_of(work.go_on(), fail(after=3))
    assert work.was_ended


async def test_an_end_that_comes_before_the_result_is_an_error_and_ends_the_work():
    work = Work()
    with pytest.raises(KeyError):
        await unless(work.has_begun.wait(), work.go_on(), KeyError())
    assert work.was_ended


async def test_undisturbed_work_ends_before_the_cancellation_does_its_own():
    gate = asyncio.Event()
    work = asyncio.create_task(gate.wait())
    waiting = asyncio.create_task(undisturbed(work))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.sleep(0)
    assert not waiting.done()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert work.result() is True


async def test_waiting_for_an_end_takes_no_interest_in_how_it_ended():
    await ended(asyncio.create_task(fail()))


async def test_a_nursery_ends_its_tasks_with_its_block():
    works = [Work(), Work()]
    async with Nursery() as nursery:
        for work in works:
            nursery.start(work.go_on())
            await work.has_begun.wait()
        assert len(nursery) == 2
    assert all(work.was_ended for work in works)
    assert len(nursery) == 0


async def test_a_task_that_fails_ends_its_block_with_its_own_error():
    work = Work()

    async def block() -> None:
        async with Nursery() as nursery:
            nursery.start(work.go_on())
            nursery.start(fail(after=3))
            await asyncio.Event().wait()

    with pytest.raises(ValueError, match="a fault"):
        await block()
    assert work.was_ended
    task = asyncio.current_task()
    assert task is not None and not task.cancelling()


async def test_a_task_that_fails_in_the_blocks_last_moment_is_not_missed():
    """The block has nothing to wait for any more when the error comes."""

    async def block() -> None:
        async with Nursery() as nursery:
            nursery.start(fail())
            await asyncio.sleep(0)

    with pytest.raises(ValueError, match="a fault"):
        await block()
    await asyncio.sleep(0)  # no cancellation is left over


async def test_the_blocks_own_error_wins_over_that_of_a_task():
    async def block() -> None:
        async with Nursery() as nursery:
            nursery.start(fail(after=1))
            raise KeyError

    with pytest.raises(KeyError):
        await block()


async def test_a_block_that_others_cancel_is_cancelled_whatever_its_tasks_raise():
    entered = asyncio.Event()

    async def block() -> None:
        async with Nursery() as nursery:
            nursery.start(fail_when_cancelled())
            await asyncio.sleep(0)
            entered.set()
            await asyncio.Event().wait()

    async def fail_when_cancelled() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError

    task = asyncio.create_task(block())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_a_task_raises_while_it_is_ended_changes_nothing_for_the_block(caplog):
    begun = asyncio.Event()

    async def fail_when_ended() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            raise OSError("gone")

    async def block() -> int:
        async with Nursery() as nursery:
            nursery.start(fail_when_ended())
            await begun.wait()
            return 7

    assert await block() == 7
    assert "failed while it was ended" in caplog.text


async def test_without_a_block_a_failing_task_is_logged_with_its_traceback(caplog):
    nursery, work = Nursery(), Work()
    with caplog.at_level(logging.ERROR):
        nursery.start(work.go_on())
        await work.has_begun.wait()
        nursery.start(fail())
        await asyncio.sleep(0)
        await nursery.close()
    assert "a background task failed" in caplog.text and "a fault" in caplog.text
    assert work.was_ended


async def test_closing_waits_as_long_as_it_is_told_for_tasks_that_end_by_themselves():
    nursery, gate = Nursery(), asyncio.Event()
    task = nursery.start(gate.wait())
    asyncio.get_running_loop().call_soon(gate.set)
    await nursery.close(grace_seconds=5.0)
    assert task.result() is True

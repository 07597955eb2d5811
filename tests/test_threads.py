"""Between loops and threads no result is lost, and no thread waits for a loop that has ended."""

from __future__ import annotations

import asyncio
import threading

import pytest

from p2pinfer.threads import BackgroundThread, LoopGoneError, answer, in_thread, run_in_loop, tell


def raising(error: BaseException):
    def raise_it():
        raise error

    return raise_it


async def test_a_threads_result_and_its_error_come_back():
    assert await in_thread(lambda: threading.current_thread().daemon) is True
    with pytest.raises(KeyError):
        await in_thread(raising(KeyError()))


async def test_one_thread_is_kept_for_all_calls_and_does_them_in_order():
    thread = BackgroundThread("test")
    done: list[int] = []
    await asyncio.gather(*(thread.run(lambda number=number: done.append(number)) for number in range(5)))
    names = {await thread.run(threading.get_ident) for _ in range(3)}
    thread.close()
    assert done == [0, 1, 2, 3, 4]
    assert len(names) == 1


async def test_a_closed_thread_takes_no_more_calls():
    thread = BackgroundThread("test")
    thread.close()
    with pytest.raises(RuntimeError, match="closed"):
        await thread.run(print)


async def test_a_call_that_nobody_waits_for_any_more_is_finished_in_silence():
    entered, gate = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def block() -> bool:
        tell(loop, entered.set)
        return gate.wait(60)

    waiting = asyncio.create_task(in_thread(block))
    await entered.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    gate.set()


async def test_an_unexpected_error_stays_in_the_thread_that_made_it():
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    with pytest.raises(ZeroDivisionError):
        answer(future, raising(ZeroDivisionError()), expected=KeyError)
    assert not future.done()
    answer(future, raising(KeyError()), expected=KeyError)
    with pytest.raises(KeyError):
        await future


async def test_an_answer_that_comes_after_the_waiting_ended_is_dropped():
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    future.cancel()
    answer(future, lambda: 1)
    await asyncio.sleep(0)
    assert future.cancelled()


def test_telling_a_closed_loop_is_harmless():
    loop = asyncio.new_event_loop()
    loop.close()
    tell(loop, print)


@pytest.fixture
def loop_thread():
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield loop, thread
    if thread.is_alive():
        loop.call_soon_threadsafe(loop.stop)
    thread.join(60)
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def test_a_thread_waits_for_a_coroutine_in_another_threads_loop(loop_thread):
    loop, thread = loop_thread

    async def give(value: int) -> int:
        await asyncio.sleep(0)
        return value

    async def fail() -> None:
        raise KeyError

    assert run_in_loop(loop, thread, give(7)) == 7
    with pytest.raises(KeyError):
        run_in_loop(loop, thread, fail())


def test_whoever_waits_for_a_loop_that_has_ended_is_told(loop_thread):
    loop, thread = loop_thread

    async def end() -> None:
        loop.stop()
        await asyncio.Event().wait()

    with pytest.raises(LoopGoneError):
        run_in_loop(loop, thread, end())

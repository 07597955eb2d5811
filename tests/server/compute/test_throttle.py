"""The duty cycle: exact in arithmetic, and kept by the computing thread beside its other work."""

from __future__ import annotations

import asyncio
import socket
import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pinfer.server.compute.batcher import Batcher, QueuedStep, RowInput
from p2pinfer.server.compute.compute_thread import ComputeThread
from p2pinfer.server.compute.throttle import BURST_SECONDS, Throttle, duty_for_share
from p2pinfer.types import Span
from p2pinfer.wire.step_kind import StepKind
from tests.fakes import SPEED, FakeEngine, random_hidden


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = Fraction(0)

    def __call__(self) -> Fraction:
        return self.now

    def pass_by(self, seconds: Fraction) -> None:
        self.now += seconds


duties = st.integers(1, 50).map(lambda fiftieths: Fraction(fiftieths, 50))
lengths = st.integers(0, 60).map(lambda twentieths: Fraction(twentieths, 20))


@pytest.mark.parametrize(
    ("share", "processors", "threads", "duty"),
    [(0.25, 2, 2, 0.25), (0.25, 2, 1, 0.5), (0.5, 8, 2, 1.0), (1.0, 4, 8, 0.5), (1.0, 4, 4, 1.0)],
)
def test_a_share_of_the_machine_is_a_duty_of_the_threads_that_it_has(share, processors, threads, duty):
    assert duty_for_share(share, processors=processors, threads=threads) == duty


@given(duty=duties, seconds=st.lists(lengths, min_size=1, max_size=5))
@settings(max_examples=50)
def test_a_batch_is_followed_by_the_pause_that_makes_up_for_it(duty, seconds):
    """Without credit, and with work waiting all the time, the duty is exact."""
    clock = Clock()
    throttle = Throttle(duty, burst_seconds=Fraction(0), clock=clock)
    for length in seconds:
        assert throttle.pause_seconds() == 0
        throttle.run(lambda length=length: clock.pass_by(length))
        pause = throttle.pause_seconds()
        assert pause == length * (1 / duty - 1)
        clock.pass_by(Fraction(pause) / 2)
        assert throttle.pause_seconds() == Fraction(pause) / 2
        clock.pass_by(Fraction(pause) / 2)
    assert throttle.busy_seconds == sum(seconds)
    assert throttle.busy_seconds == duty * clock.now


@given(
    burst=lengths,
    turns=st.lists(st.tuples(duties, lengths, lengths), min_size=1, max_size=8),
)
@settings(max_examples=40)
def test_in_no_stretch_of_time_do_batches_take_more_than_their_duty_and_one_batch(burst, turns):
    """The limit holds however work comes and however often the duty changes, also during pauses."""
    clock = Clock()
    throttle = Throttle(Fraction(1, 3), burst_seconds=burst, clock=clock)
    allowed = Fraction(0)  # the duties so far, each times how long it was in force
    batches = []  # what was allowed before each, what after, and how long it took

    def wait(seconds: Fraction) -> None:
        nonlocal allowed
        allowed += throttle.duty * seconds
        clock.pass_by(seconds)

    for duty, idle, length in turns:
        wait(idle)
        throttle.set_duty(duty)
        wait(throttle.pause_seconds())
        before = allowed
        throttle.run(lambda length=length: wait(length))
        batches.append((before, allowed, length))
    for first, (begin, _, _) in enumerate(batches):
        taken = Fraction(0)
        for _, end, length in batches[first:]:
            taken += length
            assert taken <= end - begin + burst + length


def test_who_idles_saves_up_a_burst_and_no_more():
    clock = Clock()
    throttle = Throttle(Fraction(1, 2), burst_seconds=Fraction(1), clock=clock)
    clock.pass_by(Fraction(1000))
    for _ in range(2):
        assert throttle.pause_seconds() == 0
        throttle.run(lambda: clock.pass_by(Fraction(2)))
    assert throttle.pause_seconds() == 2


def test_at_full_speed_there_are_no_pauses():
    clock = Clock()
    throttle = Throttle(clock=clock)
    for _ in range(10):
        throttle.run(lambda: clock.pass_by(Fraction(7)))
        assert throttle.pause_seconds() == 0


@pytest.mark.parametrize("duty", [0.0, -0.5, 1.01, float("nan")])
async def test_a_duty_that_is_none_is_refused_where_it_is_set(duty):
    with ComputeThread(Batcher(FakeEngine(Span(0, 1)), SPEED), asyncio.get_running_loop()) as thread:
        with pytest.raises(ValueError, match="above 0 and at most 1"):
            thread.set_duty(duty)
        assert thread.duty == 1
        await thread.ask(lambda: None)  # the thread lives


def spin(seconds: float) -> None:
    """Keep the thread busy, as an engine that computes."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


class Steps:
    """An engine whose steps take a fixed time, and the steps that it gets."""

    def __init__(self, seconds: float) -> None:
        self.engine = FakeEngine(Span(0, 1), before_forward=lambda: spin(seconds))
        self.batcher = Batcher(self.engine, SPEED)

    def add(self, answer) -> None:
        """Run one step, on the thread."""
        rows = [RowInput(self.engine.new_cache(), 0, random_hidden(1))]
        self.batcher.add(QueuedStep(b"client", StepKind.DECODE, rows, answer))

    async def done(self, thread: ComputeThread) -> asyncio.Future[None]:
        """Add a step; the future is done when the step is."""
        done = asyncio.get_running_loop().create_future()
        await thread.ask(lambda: self.add(lambda _: thread.tell(done.set_result, None)))
        return done


@pytest.mark.parametrize("duty", [0.25, 0.5])
async def test_the_thread_keeps_its_duty_under_load(duty):
    """Measured with an engine that computes whenever it may: never more than the duty, and not much less."""
    steps = Steps(0.004)
    loop = asyncio.get_running_loop()
    finished = loop.create_future()
    longest, last = 0.0, 0.0

    with ComputeThread(steps.batcher, loop) as thread:

        def again(_) -> None:
            nonlocal longest, last
            longest, last = max(longest, thread.busy_seconds - last), thread.busy_seconds
            if thread.busy_seconds < 0.25:
                steps.add(again)
            else:
                thread.tell(finished.set_result, None)

        thread.set_duty(duty)
        began = await thread.ask(time.perf_counter)
        await thread.ask(lambda: steps.add(again))
        async with asyncio.timeout(30):
            await finished
        busy, ended = await thread.ask(lambda: (thread.busy_seconds, time.perf_counter()))
    elapsed = ended - began
    one_batch = max(longest, busy - last) + 0.01
    assert busy <= duty * elapsed + BURST_SECONDS + one_batch
    assert busy >= 0.4 * duty * elapsed


async def test_in_a_pause_sockets_are_read_questions_answered_and_another_duty_is_taken():
    steps = Steps(0.2)
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    with ours, theirs, ComputeThread(steps.batcher, loop) as thread:
        thread.set_duty(0.001)
        async with asyncio.timeout(20):
            await (await steps.done(thread))
            second = await steps.done(thread)  # a question, answered although the pause lasts minutes
            read = loop.create_future()
            ours.setblocking(False)

            def on_thread() -> None:
                thread.watch(ours, lambda _: thread.tell(read.set_result, ours.recv(1)))

            await thread.ask(on_thread)
            theirs.send(b"!")
            assert await read == b"!"
            await thread.ask(lambda: thread.unwatch(ours))
            assert not second.done() and steps.engine.batch_sizes == [1]
            thread.set_duty(1.0)
            await second
    assert thread.duty == 1


async def test_who_pauses_can_be_told_to_end():
    steps = Steps(0.2)
    with ComputeThread(steps.batcher, asyncio.get_running_loop()) as thread:
        thread.set_duty(0.001)
        async with asyncio.timeout(20):
            await (await steps.done(thread))
        second = await steps.done(thread)
    assert not thread.thread.is_alive() and not second.done()

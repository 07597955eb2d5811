"""Runs a schedule and says what was wrong with it."""

from __future__ import annotations

import gc
import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from p2pinfer.client.patience import Patience
from p2pinfer.errors import NoRouteError
from tests.simulator.client.program import Program
from tests.simulator.clock import DeadlockError
from tests.simulator.schedules.faults import START_SECONDS, Happened, Misfortune
from tests.simulator.schedules.schedule import Schedule
from tests.simulator.schedules.script import Answered, Diary, Reader
from tests.simulator.world.seams import simulated
from tests.simulator.world.world import World

_STEP_SECONDS = 30.0
_UNDISTURBED_SECONDS = 60.0
_SLOWEST_STEP_SECONDS = 12.0
"""A prompt through the slowest servers, beside other sessions' prompts, or a history replayed."""

_FAULT_SECONDS = 12.0
"""What a fault may cost a step besides the time without a way: some time outs, and a replay."""

_FREED_WITHIN_SECONDS = 40.0
"""The time after which sessions of a lost client are freed: two keepalives and some more."""

_AVOIDED_SECONDS = 25.0
"""How long clients may leave out a peer that came back."""


@dataclass(slots=True)
class Outcome:
    """The results of a schedule. `wrong` lists what should not have happened."""

    seed: int
    wrong: list[str] = field(default_factory=list)
    diaries: list[Diary] = field(default_factory=list)
    happened: list[Happened] = field(default_factory=list)
    trace: list[tuple[float, str, str]] = field(default_factory=list)
    seconds: float = 0.0
    doubted: set[str] = field(default_factory=set)
    """The servers that the client remembers for something that they did."""

    @property
    def steps(self) -> list[Answered]:
        """Every answered call of `compute`, of all scripts."""
        return [step for diary in self.diaries for step in diary.steps]


def run_schedule(schedule: Schedule) -> Outcome:
    """Run it to its end, and check everything that must hold."""
    outcome = Outcome(schedule.seed)
    world = World(schedule.seed, schedule.wires, schedule.servers)
    with simulated(world.clock), _logged(world):
        programs: list[Program] = []
        try:
            _play(schedule, world, outcome, programs)
        except DeadlockError as error:
            outcome.wrong.append(str(error))
        finally:
            outcome.wrong += [f"not handled: {_where(error)}" for error in world.errors]
            outcome.trace, outcome.seconds = world.trace, world.clock.now
            known = world.client.directory.reputations.known
            outcome.doubted = {
                host.name for host in world.hosts if host.peer_id in known and known[host.peer_id].offences
            }
            for program in programs:
                program.abandon()
            world.close()
    return outcome


def _play(schedule: Schedule, world: World, outcome: Outcome, programs: list[Program]) -> None:
    patience = Patience(route=schedule.route_seconds, step=_STEP_SECONDS)
    world.run_until(lambda: len(world.living) == len(schedule.servers), 1.0)
    misfortune = Misfortune(world, schedule.faults, schedule.seed)
    outcome.happened = misfortune.happened
    for script in schedule.scripts:
        reader = Reader(world, script, patience)
        outcome.diaries.append(reader.diary)
        program = Program(world.client_loop, reader.play)
        programs.append(program)
        world.client_loop.call_at(START_SECONDS + script.starts_at, program.start)
    limit = _UNDISTURBED_SECONDS + sum(fault.seconds + 2 * _FAULT_SECONDS for fault in schedule.faults)
    if not world.run_until(lambda: all(program.finished.done() for program in programs), limit):
        outcome.wrong.append(f"not done after {limit:.0f} s")
    for program, diary in zip(programs, outcome.diaries, strict=True):
        if program.finished.done() and (error := program.finished.result()) is not None:
            outcome.wrong.append(f"a caller got {_where(error)}")
            world.note("client", f"{error!r}")
        outcome.wrong += [f"wrong tokens: {wrong}" for wrong in diary.wrong]
        if diary.error is not None:
            outcome.wrong += _unexcused(diary, world, schedule)
    if not schedule.scarce:
        outcome.wrong += _stalled(outcome)
    misfortune.end()
    if not outcome.wrong:
        ended = world.clock.now
        if not world.run_until(
            lambda: not any(len(server.sessions) for server in world.living), ended + _FREED_WITHIN_SECONDS
        ):
            held = [server.host.name for server in world.living if len(server.sessions)]
            outcome.wrong.append(
                f"{_FREED_WITHIN_SECONDS:.0f} s later sessions are held by {', '.join(held)}"
            )


def _unexcused(diary: Diary, world: World, schedule: Schedule) -> list[str]:
    """What is wrong about the error that a caller got."""
    if diary.error_rows_missing:
        return ["the error does not carry the rows"]
    if schedule.scarce:
        return []  # where memory is short, a caller may have to wait for others longer than its limit
    since = diary.ended_at - schedule.route_seconds
    if isinstance(diary.error, NoRouteError):
        missing = world.impassable_seconds(since)
        excused = missing + _AVOIDED_SECONDS >= schedule.route_seconds
        why = f"in the {schedule.route_seconds:.0f} s before there was no way for {missing:.1f} s only"
    else:  # a limit that is shorter than one time out can end with the error of the last attempt
        excused = schedule.route_seconds < _AVOIDED_SECONDS
        why = "there was time enough to try others"
    return [] if excused else [f"a caller got {diary.error!r}, though {why}"]


def _stalled(outcome: Outcome) -> list[str]:
    """Steps that took longer than all events up to then explain."""
    wrong = []
    for step in outcome.steps:
        faults = sum(fault.at < step.ended for fault in outcome.happened)
        allowed = step.impassable_seconds + _SLOWEST_STEP_SECONDS + _FAULT_SECONDS * faults
        if step.seconds > allowed:
            wrong.append(
                f"{step.seconds:.1f} s for the step at {step.began:.2f}, at most {allowed:.1f} allowed"
            )
    return wrong


def _where(error: BaseException) -> str:
    """The text of an unexpected error, and where it comes from."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    places = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames]
    return f"{error!r} ({' '.join(places)})"


@contextmanager
def _logged(world: World) -> Iterator[None]:
    """Add the client's log to the trace, and failed background tasks to the errors.

    Garbage is not collected meanwhile: that may run code, at a moment that no seed decides.
    """
    names = {host.peer_id: host.name for host in world.hosts}

    class IntoTrace(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = record.getMessage()
            for peer_id, name in names.items():
                text = text.replace(peer_id, name).replace(f"…{peer_id[-6:]}", name)
            world.note("client", text)

    class IntoErrors(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info and record.exc_info[1] is not None:
                world.errors.append(record.exc_info[1])

    handler, of_tasks = IntoTrace(), IntoErrors()
    logger, tasks = logging.getLogger("p2pinfer.client"), logging.getLogger("p2pinfer.tasks")
    tasks.addHandler(of_tasks)
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    gc.disable()
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(finalizer=lambda generator: None)  # killed processes' generators stay unfinished
    try:
        yield
    finally:
        gc.enable()
        sys.set_asyncgen_hooks(*hooks)
        logger.setLevel(level)
        logger.propagate = propagate
        logger.removeHandler(handler)
        tasks.removeHandler(of_tasks)

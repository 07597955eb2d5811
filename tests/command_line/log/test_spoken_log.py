"""The program's log under a flood of lines that strangers cause."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from p2pinfer.command_line.log.line_rates import USUAL, VERBOSE, LineBound
from p2pinfer.command_line.log.spoken_log import SpokenLog


class Log:
    """A logger, what it spoke, and its clock."""

    def __init__(self, bound: LineBound = USUAL) -> None:
        self.spoken: list[str] = []
        self.now = 0.0
        self.handler = SpokenLog(self.spoken.append, bound, clock=lambda: self.now)
        self.logger = logging.Logger("p2pinfer.test")
        self.logger.addHandler(self.handler)

    @property
    def bytes(self) -> int:
        return sum(len(line.encode()) + 1 for line in self.spoken)


@pytest.mark.parametrize("bound", [USUAL, VERBOSE], ids=["usual", "verbose"])
def test_a_million_refused_openings_a_minute_cost_a_bounded_number_of_bytes(bound: LineBound):
    log = Log(bound)
    for number in range(100_000):  # as many more change nothing but a count
        log.now = number * 60 / 1_000_000
        log.logger.warning("refused an opening of %s: %s", number, "x" * 60)
    log.now = 60.0
    log.logger.warning("another line")

    first = log.spoken.index("another line")
    assert log.spoken[bound.lines] == (
        f"... and {100_000 - bound.lines:,} more like it within 1 min 0 s: refused an opening of %s: %s"
    )
    assert (first, log.bytes < bound.kind_bytes + 1024) == (bound.lines + 1, True)


def test_a_line_of_a_flood_is_never_put_into_words():
    class Costly:
        words = 0

        def __str__(self) -> str:
            Costly.words += 1
            return "costly"

    log = Log()
    for _ in range(1000):
        log.logger.warning("%s", Costly())

    assert Costly.words == USUAL.lines


def test_tracebacks_are_bounded_too():
    """A flood of them is counted by their words and their error; the first one is whole."""
    log = Log()
    for number in range(2000):
        try:
            raise ValueError(f"stranger {number}")
        except ValueError:
            log.logger.exception("a task failed")

    assert "ValueError: stranger 0" in log.spoken[0]
    assert log.bytes <= USUAL.kind_bytes + 8192


def test_what_is_missing_is_said_in_time_also_if_no_other_line_comes():
    spoken: list[str] = []
    said = threading.Event()

    def speak(line: str) -> None:
        spoken.append(line)
        if line.startswith("..."):
            said.set()

    logger = logging.Logger("p2pinfer.test")
    logger.addHandler(SpokenLog(speak, LineBound(lines=1, kind_bytes=1000, in_all_bytes=1000, seconds=0.05)))
    logger.warning("refused")
    logger.warning("refused")

    assert said.wait(60)
    assert spoken == ["refused", "... and 1 more like it within 0 s: refused"]


def test_a_program_that_ends_says_what_is_missing():
    log = Log()
    for _ in range(USUAL.lines + 7):
        log.logger.warning("refused")
    log.handler.flush()
    log.handler.close()

    assert log.spoken[-1] == "... and 7 more like it within 1 min 0 s: refused"


def test_what_stands_for_missing_lines_cannot_control_a_terminal():
    log = Log()
    for _ in range(USUAL.lines + 1):
        log.logger.warning("foreign \x1b[2J words\nand more")
    log.handler.flush()

    assert log.spoken[-1].endswith("foreign ?[2J words?and more")


def test_a_broken_line_stops_nothing():
    log = Log()
    log.logger.warning("layers %d", "none")
    log.logger.warning("layers %s", "0:10")

    assert log.spoken[0].startswith("a fault in p2pinfer: no log line can be made of 'layers %d': TypeError")
    assert log.spoken[1] == "layers 0:10"


def test_a_line_of_a_flood_costs_little():
    """Far less than to put it into words and to write it. Measured: 5 us, most of it logging's own."""
    log = Log()
    began = time.process_time()
    for number in range(20_000):
        log.logger.warning("refused an opening of %s", number)
    seconds = time.process_time() - began

    assert seconds / 20_000 < 100e-6

"""Progress of a transfer: its words, its bar, and what arrives at terminals, pipes and files."""

from __future__ import annotations

import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fcntl import ioctl
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.command_line.progress import ASCII, ProgressBar, bar_line, progress_text
from p2pinfer.command_line.rate import Pace, RateMeter
from p2pinfer.command_line.tables import display_width

ROOT = Path(__file__).parents[2]
SECONDS = 20.0
WIPE = "\r\x1b[K"
PROGRAM = '''
import sys, time
from p2pinfer.command_line.output import complain, say, show
from p2pinfer.command_line.progress import ProgressBar
from p2pinfer.command_line.program import run

def drawn(bar, done):
    """Wait until the terminal, if there is one, shows it."""
    bar.update(done, 4_000_000)
    while bar._line and b"%d%%" % (done * 100 // 4_000_000) not in bar._line._drawn:
        time.sleep(0.005)

def work():
    with ProgressBar("fetching \\u00e9 {what}", draw_seconds=0.02, log_seconds=60) as bar:
        drawn(bar, 1_000_000)
        {middle}
        drawn(bar, 2_000_000)
    return 3

sys.exit(run("test", work))
'''


def program(middle: str = "pass", what: str = "layers") -> str:
    return PROGRAM.format(middle=middle, what=what)


def on_a_terminal(source: str, *, columns: int = 80, **environment: str) -> tuple[int, str]:
    """Run a program on a terminal of its own: exit status, and everything that the terminal got."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", source],
        cwd=ROOT,
        env=os.environ | {"TERM": "xterm", "PYTHONIOENCODING": "utf-8"} | environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    received, ends_at = b"", time.monotonic() + SECONDS
    try:
        with suppress(OSError):  # EIO: the program has ended
            while select.select([ours], [], [], max(0.0, ends_at - time.monotonic()))[0]:
                received += os.read(ours, 65536)
        return process.wait(SECONDS), received.decode(errors="replace")
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def screen(received: str) -> list[str]:
    """What is to be read on the terminal at the end."""
    return [line.split(WIPE)[-1].rstrip("\r") for line in received.split("\n")]


def in_a_pipe(source: str, **environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", source],
        cwd=ROOT,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"} | environment,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (3, b"")
    return done.stdout.decode().splitlines()


@pytest.mark.parametrize(
    ("done", "total", "pace", "words"),
    [
        (0, 1_200_000_000, Pace(None), "0% of 1.2 GB"),
        (408_000_000, 1_200_000_000, Pace(5.6e6), "34% of 1.2 GB, 5.6 MB/s, 2 min 21 s left"),
        (1_199_999_999, 1_200_000_000, Pace(5.6e6), "99% of 1.2 GB, 5.6 MB/s, 0 s left"),
        (5, 10, Pace(0.0, 12.0), "50% of 10 B, stalled for 12 s"),
        (5, 10, Pace(0.0), "50% of 10 B, 0 B/s"),
        (1, 10**13, Pace(1.0), "0% of 10 TB, 1 B/s"),
        (10, 10, Pace(0.0, 12.0), "100% of 10 B"),
        (12, 10, Pace(3.0), "100% of 10 B"),
        (5_000, 0, Pace(200.0), "5.0 kB, 200 B/s"),
    ],
)
def test_the_words_say_how_much_how_fast_and_how_long(done: int, total: int, pace: Pace, words: str):
    assert progress_text(done, total, pace) == words


def test_a_bar_fills_from_the_left():
    assert bar_line("X", 5, 10, Pace(None), columns=24) == "X █████░░░░░ 50% of 10 B"
    assert bar_line("X", 5, 10, Pace(None), columns=24, signs=ASCII) == "X #####..... 50% of 10 B"


def test_where_room_is_short_the_bar_goes_first_and_then_the_end_of_the_subject():
    assert bar_line("fetching layers", 5, 10, Pace(None), columns=28) == "fetching layers 50% of 10 B"
    assert bar_line("fetching layers", 5, 10, Pace(None), columns=20) == "fetchin… 50% of 10 B"
    assert bar_line("fetching layers", 5, 10, Pace(None), columns=6) == "50% of"


@given(
    st.text(st.characters(categories=("L", "P")), max_size=40),
    st.integers(0, 10**14),
    st.integers(0, 10**14),
    st.floats(0, 1e12) | st.none(),
    st.integers(1, 200),
)
def test_no_line_is_wider_than_its_terminal(
    what: str, done: int, total: int, rate: float | None, columns: int
):
    assert display_width(bar_line(what, done, total, Pace(rate), columns=columns)) <= columns


def test_the_rate_is_that_of_the_last_seconds():
    meter = RateMeter(1_000, at=0.0)
    assert meter.pace(0.1) == Pace(None)
    for second in range(1, 31):
        meter.update(1_000 + second * 100, at=float(second))
    assert meter.pace(30.0) == Pace(100.0)
    for second in range(31, 45):
        meter.update(4_000 + (second - 30) * 500, at=float(second))
    assert meter.pace(44.0) == Pace(500.0)


def test_what_stands_still_is_said_to_stand_still():
    meter = RateMeter(0, at=0.0)
    meter.update(100, at=1.0)
    meter.update(100, at=13.0)

    assert meter.pace(13.0) == Pace(0.0, 12.0)


def test_a_transfer_that_begins_anew_has_no_negative_rate():
    meter = RateMeter(0, at=0.0)
    meter.update(100, at=1.0)
    meter.update(0, at=2.0)

    assert meter.pace(2.1) == Pace(None)


def test_a_meter_remembers_little_however_often_it_is_told():
    meter = RateMeter(0, at=0.0)
    for number in range(100_000):
        meter.update(number, at=number / 1000)

    assert len(meter._samples) < 40


def test_a_terminal_gets_one_line_that_is_drawn_again_and_at_the_end_how_it_went():
    status, received = on_a_terminal(program())

    assert status == 3
    assert re.search(r"fetching é layers █{7}░{23} 25% of 4.0 MB", received)
    assert received.count(WIPE) >= 3
    assert screen(received) == ["fetching é layers: ended at 2.0 MB of 4.0 MB", ""]


@pytest.mark.parametrize("speak", ["say", "complain", "show"])
def test_lines_appear_above_the_bar_whole(speak: str):
    """Also those of standard error, which leads to the same terminal."""
    status, received = on_a_terminal(program(f"[{speak}(f'line {{number}}') for number in range(3)]"))

    assert status == 3
    assert screen(received) == [
        "line 0",
        "line 1",
        "line 2",
        "fetching é layers: ended at 2.0 MB of 4.0 MB",
        "",
    ]
    if speak != "show":
        assert received.count("25% of 4.0 MB") >= 4  # the bar is there again after each line


def test_the_bar_is_as_wide_as_the_terminal_allows():
    _, received = on_a_terminal(program(), columns=30)

    drawn = [part for part in re.split(r"\r\x1b\[K|\r\n", received) if "%" in part]
    assert drawn
    assert all(display_width(part) < 30 for part in drawn)


def test_a_locale_without_blocks_gets_ascii():
    _, received = on_a_terminal(program(what="x"), PYTHONIOENCODING="ascii")

    assert "fetching ? x #######...." in received


def test_colors_are_never_used():
    """So NO_COLOR is respected; a bar needs none."""
    _, received = on_a_terminal(program())

    assert not re.search(r"\x1b\[[0-9;]*m", received)


def test_a_terminal_that_cannot_erase_gets_lines_as_a_log_does():
    _, received = on_a_terminal(program(), TERM="dumb")

    assert received.splitlines() == [
        "fetching é layers: 25% of 4.0 MB",
        "fetching é layers: ended at 2.0 MB of 4.0 MB",
    ]


def test_a_pipe_gets_a_line_at_the_beginning_and_one_at_the_end():
    assert in_a_pipe(program()) == [
        "fetching é layers: 25% of 4.0 MB",
        "fetching é layers: ended at 2.0 MB of 4.0 MB",
    ]


def test_a_log_gets_a_line_now_and_then_even_if_nothing_comes():
    source = program("time.sleep(0.6)").replace("log_seconds=60", "log_seconds=0.1")
    lines = in_a_pipe(source)

    assert len(lines) > 2
    assert all(line.startswith("fetching é layers: 25% of 4.0 MB") for line in lines[:-1])


def test_of_two_bars_one_has_the_line_and_the_other_speaks():
    status, received = on_a_terminal(
        program("other = ProgressBar('other'); other.update(5, 5); other.close()")
    )

    assert status == 3
    assert screen(received)[:2] == ["other: 100% of 5 B", "other: all 5 B were here"]


def test_a_program_that_is_interrupted_leaves_no_bar():
    status, received = on_a_terminal(program("raise KeyboardInterrupt"))

    assert status == 130
    assert screen(received) == [
        "fetching é layers: ended at 1.0 MB of 4.0 MB",
        "p2pinfer.test: stopped",
        "",
    ]


def test_a_bar_that_nobody_closed_is_wiped_at_the_end():
    source = program().replace("with ProgressBar(", "bar = ProgressBar(").replace(" as bar:", "")
    status, received = on_a_terminal(re.sub(r"(?m)^        (drawn|pass)", r"    \1", source))

    assert status == 3
    assert screen(received) == [""]


@contextmanager
def stopped_terminal() -> Iterator[tuple[int, int]]:
    """A terminal whose user has pressed Ctrl-S: both its ends."""
    ours, theirs = pty.openpty()
    termios.tcflow(theirs, termios.TCOOFF)
    try:
        yield ours, theirs
    finally:
        termios.tcflow(theirs, termios.TCOON)
        os.close(ours)
        os.close(theirs)


def test_a_terminal_that_stands_still_holds_nothing_up_and_collects_no_pictures(
    monkeypatch: pytest.MonkeyPatch,
):
    with stopped_terminal() as (ours, theirs), open(theirs, "w", closefd=False) as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setenv("TERM", "xterm")
        bar = ProgressBar("fetching", draw_seconds=0.001)
        began = time.monotonic()
        for number in range(300):
            bar.update(number, 300)
            time.sleep(0.001)
        bar.close()
        assert time.monotonic() - began < SECONDS
        termios.tcflow(theirs, termios.TCOON)
        received = b""
        while b"ended at" not in received and select.select([ours], [], [], SECONDS)[0]:
            received += os.read(ours, 65536)

    assert received.count(b"fetching") <= 3


def test_what_nobody_reads_and_what_is_closed_stops_no_transfer(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdout", None)
    with ProgressBar("nothing") as bar:
        bar.update(1, 2)
    bar.close()


def test_names_of_strangers_cannot_control_the_terminal():
    _, received = on_a_terminal(program(what="\\x1b[2J"))

    assert "\x1b[2J" not in received
    assert "fetching é ?[2J" in received

"""Output that can't be written: to a pipe that nobody reads, a full disk, a closed file, a poor locale."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from p2pinfer.command_line.output import complain, has_color, say
from p2pinfer.command_line.speaker import Speaker

ROOT = Path(__file__).parents[2]
FULL = Path("/dev/full")
SECONDS = 30.0
PROGRAM = """
import sys
from p2pinfer.command_line.output import complain, say, show
from p2pinfer.command_line.program import run

def work():
    for number in range(3):
        {call}
    return 3

sys.exit(run("test", work))
"""
SAYING = PROGRAM.format(call="say(f'route \\u2026 {number}')")
SHOWING = PROGRAM.format(call="show(f'route \\u2026 {number}')")
PRINTING = PROGRAM.format(call="print(f'route \\u2026 {number}')")
COMPLAINING = PROGRAM.format(call="complain(f'route \\u2026 {number}')")


def outcome(program: str, redirection: str = "", **environment: str) -> tuple[int, bytes, bytes]:
    """Run a Python program with its output as a shell redirects it: exit status, output, errors."""
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" {redirection}', sys.executable, program],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"} | environment,
        capture_output=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def outcome_with_no_reader(program: str) -> tuple[int, bytes]:
    """Run a Python program into a pipe whose reader has gone: exit status, errors."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    return done.returncode, done.stderr


def test_lines_arrive_as_they_are_said():
    assert outcome(SAYING) == (3, "route … 0\nroute … 1\nroute … 2\n".encode(), b"")


def test_a_reader_that_has_gone_stops_no_work():
    """The exit status stays, and Python prints nothing about a pipe when it ends."""
    assert outcome_with_no_reader(SAYING) == (3, b"")


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_a_full_disk_stops_no_work():
    assert outcome(SAYING, f">{FULL}") == (3, b"", b"")
    assert outcome(COMPLAINING, f"2>{FULL}") == (3, b"", b"")


@pytest.mark.parametrize("program", [SAYING, SHOWING, PRINTING])
def test_a_closed_output_stops_no_work(program: str):
    assert outcome(program, ">&-") == (3, b"", b"")


def test_closed_errors_stop_no_work():
    assert outcome(COMPLAINING, "2>&-") == (3, b"", b"")


@pytest.mark.parametrize("program", [SAYING, SHOWING, PRINTING])
@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "latin-1"},
    ],
)
def test_a_character_that_the_locale_lacks_is_replaced(program: str, environment: dict[str, str]):
    status, output, errors = outcome(program, **environment)

    assert (status, errors) == (3, b"")
    assert output.splitlines()[0] == b"route ? 0"


@pytest.mark.parametrize("program", [SAYING, SHOWING, PRINTING])
def test_the_name_of_a_file_that_the_locale_cannot_read_is_printed_as_it_is(program: str):
    """So that a printed command works: in LANG=C, Python reads `d\u00e4` as bytes."""
    status, output, errors = outcome(
        program.replace("route \\u2026", "d\\udcc3\\udca4 \\u2026"),
        LC_ALL="C",
        PYTHONUTF8="0",
        PYTHONCOERCECLOCALE="0",
    )

    assert (status, errors) == (3, b"")
    assert output.splitlines()[0] == "d\u00e4 ? 0".encode()


def test_a_result_that_nobody_reads_ends_the_program_silently():
    """As a shell reports a program that SIGPIPE has ended."""
    assert outcome_with_no_reader(SHOWING) == (141, b"")


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_a_result_that_is_lost_on_a_full_disk_is_a_failure():
    status, _, errors = outcome(SHOWING, f">{FULL}")

    assert status == 1
    assert errors == b"p2pinfer.test: the output can't be written: No space left on device\n"


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_help_that_cannot_be_written_is_a_failure_and_no_traceback():
    program = "import sys; from p2pinfer.__main__ import main; sys.exit(main(['--help']))"

    lost = b"p2pinfer: the output can't be written: No space left on device\n"
    assert outcome(program, f">{FULL}") == (1, b"", lost)


TAKING_NUMBERS = """
import os, sys
from p2pinfer.command_line.program import run

def work():
    print("lost", flush=True)
    sys.stderr.write("lost")
    return 3 if os.open("/", os.O_RDONLY) > 2 and sys.stdin.read() == "" else 4

sys.exit(run("test", work))
"""


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_no_file_gets_the_number_of_a_closed_stream(redirection: str):
    """Or a library that prints would write into the ledger. `sys.stderr` is a stream for libraries, too."""
    status, _, _ = outcome(TAKING_NUMBERS, redirection)

    assert status == 3


def test_a_reader_that_sleeps_holds_nothing_up_and_reads_every_line_later():
    """A stopped pager: its pipe is full. The program says more than the pipe takes, and ends."""
    program = PROGRAM.format(call="[say(f'{number} {part:03} ' + 'x' * 1000) for part in range(100)]")
    reading, writing = os.pipe()
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=writing)
    os.close(writing)
    try:
        assert process.wait(60) == 3
    finally:
        process.kill()
    with open(reading) as pipe:
        lines = pipe.read().splitlines()
    assert [line[:5] for line in lines[:40]] == [f"0 {part:03}" for part in range(40)]


def test_a_reader_that_wakes_up_gets_the_lines_and_learns_how_many_are_missing():
    reading, writing = os.pipe()
    speaker = Speaker(writing)
    line = b"x" * 65_535 + b"\n"
    for _ in range(20):
        speaker.say(line)
    assert not speaker.wait_written(0)
    with open(reading, "rb") as pipe:
        received = [pipe.readline() for _ in range(18)]
        speaker.say(b"awake\n")
        assert speaker.wait_written(SECONDS)
        os.close(writing)
        received += pipe.readlines()
    assert received[:17] == [line] * 17  # one in the pipe, sixteen that wait
    assert received[17:] == [b"(3 lines are missing here: the output was not read)\n", b"awake\n"]


def test_what_is_said_and_what_is_shown_stay_in_order():
    program = PROGRAM.format(call="say(f'said {number}'); show(f'shown {number}')")

    assert outcome(program)[1].splitlines() == [
        line for number in range(3) for line in (b"said %d" % number, b"shown %d" % number)
    ]


def test_a_stream_that_a_program_has_closed_is_no_trouble(monkeypatch: pytest.MonkeyPatch):
    closed = io.StringIO()
    closed.close()
    for stream in (closed, None):
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "stderr", stream)
        say("lost")
        complain("lost")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_colors_go_to_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert has_color(Terminal())
    assert not has_color(io.StringIO())
    assert not has_color(None)

    monkeypatch.setenv("NO_COLOR", "1")
    assert not has_color(Terminal())
    monkeypatch.setenv("NO_COLOR", "")
    assert has_color(Terminal())
    monkeypatch.setenv("TERM", "dumb")
    assert not has_color(Terminal())

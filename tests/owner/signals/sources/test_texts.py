"""Files and commands, for real."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from functools import partial

import pytest

from p2pinfer.owner.signals.config import Command, FileText, Meaning
from p2pinfer.owner.signals.persistence import keep_looking
from p2pinfer.owner.signals.readings import Signal
from p2pinfer.owner.signals.sources.texts import look_at_file, look_by_command
from p2pinfer.owner.signals.trouble import SourceError
from p2pinfer.threads import in_thread
from tests.owner.signals.watching import Watch, eventually, running


def shell(script: str, *, timeout_seconds: float = 5.0) -> Command:
    """A command; it only needs a shell."""
    return Command(arguments=("/bin/sh", "-c", script), timeout_seconds=timeout_seconds)


def look(path, signal: Signal = Signal.BATTERY_PERCENT, meaning: Meaning = Meaning()):  # noqa: B008
    return look_at_file(signal, FileText(path=str(path), meaning=meaning), now=time.time)


def test_what_stands_in_a_file(tmp_path):
    file = tmp_path / "charge_level.txt"
    file.write_text(" 80\n")
    told = look(file)
    assert told.value == 80.0
    assert told.words == "charge level is 80"


def test_files_that_cannot_be_read_are_named(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "long").write_bytes(b"1" * 70_000)
    (tmp_path / "bytes").write_bytes(b"\xff")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, words in {
        "none": "no such file",
        "pipe": "not a regular file",
        ".": "it is a folder, not a file",
        "long": "more than 64 KB",
        "bytes": "not text",
        "loop": "can't be read",
        "a\0b": "can't be read",
    }.items():
        with pytest.raises(SourceError, match=words):
            look(tmp_path / name)


def test_files_cost_no_descriptors(tmp_path):
    descriptors = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    for _ in range(20):
        with pytest.raises(SourceError):
            look(tmp_path)
    if descriptors:
        assert len(os.listdir("/proc/self/fd")) <= descriptors


def test_a_file_that_was_written_too_long_ago_does_not_count(tmp_path):
    file = tmp_path / "price"
    file.write_text("0.3")
    meaning = Meaning(max_age_seconds=600.0)
    assert look(file, Signal.PRICE, meaning).value == 0.3
    os.utime(file, (time.time() - 700, time.time() - 700))
    with pytest.raises(SourceError, match="last written 700 s ago"):
        look(file, Signal.PRICE, meaning)
    assert look(file, Signal.PRICE).value == 0.3


async def test_a_file_that_changes_is_told(tmp_path):
    file = tmp_path / "parked"
    watch = Watch()
    source = FileText(path=str(file))
    looking = keep_looking(
        watch.known,
        Signal.PARKED,
        origin="file",
        look=partial(in_thread, partial(look_at_file, Signal.PARKED, source, now=time.time)),
        every_seconds=0.01,
    )
    async with running(looking):
        await watch.until_trouble("file", "no such file")
        file.write_text("yes")
        await watch.until_known(Signal.PARKED, True)
        file.write_text("rubbish")
        await watch.until(lambda: Signal.PARKED not in watch.known.readings())
        file.write_text("no")
        await watch.until_known(Signal.PARKED, False)
        assert watch.known.troubles() == {}


async def test_the_first_line_of_a_command_counts():
    told = await look_by_command(Signal.PRICE, shell("echo ' 0.25 '; echo more; echo noise >&2"))
    assert told.value == 0.25
    assert told.words == "sh is 0.25"


async def test_a_command_is_run_without_a_shell():
    command = Command(arguments=("/bin/echo", "$HOME; echo 1"))
    assert (await look_by_command(Signal.PLACE, command)).value == "$HOME; echo 1"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 1; echo first >&2; echo last >&2; exit 3", "it ended with status 3: last"),
        ("exit 1", "it ended with status 1"),
        ("kill -9 $$", "it was ended by signal 9"),
        ("echo rubbish", "which is not a number"),
        ("true", "it says nothing"),
        ("head -c 200000 /dev/zero | tr '\\0' 1", "more than 64 KB"),
        ("printf '\\377'", "not text"),
    ],
)
async def test_commands_that_fail_are_named(script, words):
    with pytest.raises(SourceError, match=words):
        await look_by_command(Signal.PRICE, shell(script))


async def test_a_command_that_is_not_there_is_named():
    for arguments in (("/no/such/program",), ("/",), ("a\0b",)):
        with pytest.raises(SourceError, match="can't be run"):
            await look_by_command(Signal.PRICE, Command(arguments=arguments))


async def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path):
    file = tmp_path / "pid"
    script = f"sleep 60 & echo $! > {file}; echo 1; wait"
    with pytest.raises(SourceError, match="takes longer than"):
        await look_by_command(Signal.PRICE, shell(script, timeout_seconds=0.2))
    await eventually(lambda: not _lives(int(file.read_text())))


async def test_a_command_that_prints_for_ever_is_ended():
    with pytest.raises(SourceError, match="takes longer than"):
        await look_by_command(Signal.PRICE, shell("yes", timeout_seconds=0.2))


async def test_leaving_ends_the_command(tmp_path):
    file = tmp_path / "pid"
    looking = keep_looking(
        Watch().known,
        Signal.PRICE,
        origin="command",
        look=partial(look_by_command, Signal.PRICE, shell(f"echo $$ > {file}; exec sleep 60")),
        every_seconds=10.0,
    )
    async with running(looking):
        await eventually(lambda: file.exists() and file.read_text().endswith("\n"))
    await eventually(lambda: not _lives(int(file.read_text())))


async def test_a_command_that_is_run_rarely_counts_until_it_is_due_again(monkeypatch):
    """A price that is asked for every hour would be missing for most of it otherwise."""
    clock = [1000.0]
    watch = Watch(now=lambda: clock[0])
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock[0] += seconds
        if len(slept) == 3:
            raise asyncio.CancelledError

    monkeypatch.setattr("p2pinfer.owner.signals.persistence.asyncio.sleep", sleep)
    looking = keep_looking(
        watch.known,
        Signal.PRICE,
        origin="command",
        look=partial(look_by_command, Signal.PRICE, shell("echo 1")),
        every_seconds=40.0,
    )
    with pytest.raises(asyncio.CancelledError):
        await looking
    assert slept == [15.0, 15.0, 10.0]
    assert watch.known.readings()[Signal.PRICE].at == 1030.0


def _lives(pid: int) -> bool:
    """Whether the process runs; one that has ended and wasn't fetched yet doesn't."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

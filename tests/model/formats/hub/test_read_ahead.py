"""Blocks that are read while others are computed with: the same bytes, none of them twice."""

from __future__ import annotations

import threading

import pytest

from p2pinfer.errors import HubUnreachableError
from p2pinfer.model.formats.hub import read_ahead
from p2pinfer.model.formats.hub.read_ahead import ReadAhead

DATA = bytes(range(100))


class File:
    """Remembers what was read, and fails where it is told to."""

    def __init__(self) -> None:
        self.blocks: list[tuple[str, int, int]] = []
        self.fails_at: int | None = None
        self.is_read = threading.Event()

    def read(self, file: str, start: int, end: int) -> bytearray:
        self.blocks.append((file, start, end))
        try:
            if start == self.fails_at:
                raise HubUnreachableError("away")
            return bytearray(DATA[start:end])
        finally:
            self.is_read.set()


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_ahead, "LEAST_BYTES", 10)


def test_every_block_is_read_once_and_the_last_one_ends_with_the_tensor():
    file = File()
    ahead = ReadAhead(file.read)
    read = [ahead.read("a", start, min(start + 10, 45), 45) for start in range(0, 45, 10)]

    assert b"".join(read) == DATA[:45]
    assert file.blocks == [("a", start, min(start + 10, 45)) for start in range(0, 45, 10)]


def test_the_next_block_is_read_without_being_asked_for():
    file = File()
    ahead = ReadAhead(file.read)
    ahead.read("a", 0, 10, 100)
    file.is_read.clear()

    assert file.is_read.wait(60) or len(file.blocks) == 2


def test_small_blocks_and_last_ones_are_all_that_is_read():
    file = File()
    ahead = ReadAhead(file.read)
    ahead.read("a", 0, 9, 100)
    ahead.read("a", 90, 100, 100)

    assert file.blocks == [("a", 0, 9), ("a", 90, 100)]


def test_a_failure_is_raised_where_the_block_is_asked_for():
    """And the next try reads it again."""
    file = File()
    file.fails_at = 10
    ahead = ReadAhead(file.read)
    ahead.read("a", 0, 10, 100)
    with pytest.raises(HubUnreachableError):
        ahead.read("a", 10, 20, 100)
    file.fails_at = None

    assert ahead.read("a", 10, 20, 100) == DATA[10:20]


def test_two_tensors_may_be_read_side_by_side():
    file = File()
    ahead = ReadAhead(file.read)
    for start in range(0, 100, 10):
        for name in ("a", "b"):
            assert ahead.read(name, start, start + 10, 100) == DATA[start : start + 10]

    assert len(file.blocks) == len(set(file.blocks)) == 20


def test_what_nobody_asks_for_is_dropped():
    file = File()
    ahead = ReadAhead(file.read)
    for name in "abcdef":
        ahead.read(name, 0, 10, 100)

    assert len(ahead._waiting) == 2

"""Strangers' words in errors and in log lines."""

from __future__ import annotations

import logging

import pytest

from p2pinfer.command_line.log.spoken_log import SpokenLog
from p2pinfer.errors import (
    HopFailedError,
    InvalidRecordError,
    LinkFailedError,
    NoRouteError,
    P2PInferError,
    RefusedError,
    RelayRefusedError,
    SwarmError,
    UsageError,
)
from p2pinfer.plain_text import MOST_FOREIGN_CHARACTERS, foreign, harmless
from p2pinfer.types import PeerId

EVIL = "\x1b]0;title\x07\r\x9b2J\u202e\u200b\u2028\ud800"
PEER = PeerId("peer")


@pytest.mark.parametrize(
    "error",
    [
        RefusedError(PEER, "busy", f"\n{EVIL}" * 5_000),
        HopFailedError(PEER, f"\n{EVIL}" * 5_000),
        LinkFailedError(PEER, PEER, f"\n{EVIL}" * 5_000),
        RelayRefusedError(PEER, f"\n{EVIL}" * 5_000),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_peer_has_one_line_of_bounded_length(error: P2PInferError):
    assert str(error).isprintable()
    assert len(str(error)) < MOST_FOREIGN_CHARACTERS + 100
    assert harmless(repr(error)) == repr(error)


@pytest.mark.parametrize("kind", [P2PInferError, SwarmError, InvalidRecordError, UsageError, NoRouteError])
def test_no_error_controls_a_terminal(kind: type[P2PInferError]):
    """Whoever wrote a part of it; lines of our own stay lines."""
    error = kind(f"first\nsecond {EVIL}")
    assert str(error) == "first\nsecond ?]0;title???2J????"
    assert len(str(kind("x" * 10**6))) <= 10_000


def test_errors_keep_what_is_no_text():
    assert P2PInferError().args == ()
    assert P2PInferError(7, "a").args == (7, "a")


def test_a_log_line_controls_no_terminal():
    """An error of a library may quote a stranger, also in its traceback."""
    said: list[str] = []
    log = SpokenLog(said.append)
    try:
        raise OSError(EVIL)
    except OSError as error:
        record = logging.LogRecord("p2pinfer", logging.INFO, "", 1, "it says %s", (error,), None)
        record.exc_info = (type(error), error, error.__traceback__)
        log.emit(record)
    assert harmless(said[0]) == said[0]
    assert said[0].startswith("it says ?]0;title?") and "\nTraceback" in said[0]


def test_foreign_words_are_cut():
    assert foreign("x" * 60_000) == "x" * (MOST_FOREIGN_CHARACTERS - 1) + "…"
    assert foreign("a plain word") == "a plain word"

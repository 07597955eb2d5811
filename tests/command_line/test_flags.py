"""The values of flags; a wrong one is answered with what was expected."""

from __future__ import annotations

import os
import subprocess
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path

import pytest

from p2pinfer.command_line.flags import (
    host_port,
    listen_address,
    path,
    port,
    seconds,
    shown_text,
    span,
    whole_number,
)
from p2pinfer.types import Span


def test_a_value_becomes_what_the_program_works_with(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/home/someone")

    assert (whole_number(1)("12"), whole_number(0, 5)("5")) == (12, 5)
    assert seconds(0, 60)("1.5") == 1.5
    assert port("0") == 0
    assert host_port("[::1]:31330") == "[::1]:31330"
    assert (listen_address("none"), listen_address("0.0.0.0:0")) == (None, "0.0.0.0:0")
    assert listen_address("localhost:31330") == "127.0.0.1:31330"
    assert listen_address("[::1]:0") == "[::1]:0"
    assert listen_address("127.1:0") == "127.0.0.1:0"  # as the C library reads it
    assert span("10:20") == Span(10, 20)
    assert path("~/p2pinfer") == Path("/home/someone/p2pinfer")


def test_a_text_is_utf_8_whatever_the_locale():
    """In LANG=C the bytes of a name arrive as surrogates."""
    program = "import sys; from p2pinfer.command_line.flags import shown_text\n"
    program += "print(ascii(shown_text(9)(sys.argv[1])))"
    done = subprocess.run(
        [sys.executable, "-c", program, "Zo\u00eb".encode()],
        env=os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "'Zo\\xeb'\n"


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        (whole_number(1), "0", "a whole number of at least 1 is expected, not '0'"),
        (whole_number(1), "-1", "of at least 1"),
        (whole_number(1), "1.5", "of at least 1"),
        (whole_number(1), "", "of at least 1"),
        (whole_number(1), "9" * 5000, "of at least 1"),
        (whole_number(1, 256), "257", "a whole number from 1 to 256 is expected"),
        (seconds(5, 86_400), "4.9", "seconds from 5 to 86400 are expected, not '4.9'"),
        (seconds(5, 86_400), "nan", "seconds from 5"),
        (seconds(5, 86_400), "inf", "seconds from 5"),
        (seconds(5, 86_400), "soon", "seconds from 5"),
        (port, "65536", "a port from 0 to 65535 is expected"),
        (port, "http", "a port from 0"),
        (host_port, "here", "HOST:PORT is expected, like 192.0.2.7:31330, not 'here'"),
        (host_port, ":80", "HOST:PORT"),
        (host_port, "here:65536", "HOST:PORT with a port from 1 to 65535 is expected"),
        (host_port, "here:0", "HOST:PORT with a port from 1"),
        (host_port, "http://here:80", "HOST:PORT"),
        (host_port, "here:-1", "HOST:PORT"),
        (host_port, "*:80", "HOST:PORT"),
        (host_port, "::1:80", "an IPv6 address stands in brackets, like"),
        (listen_address, "[::1%lo]:80", "HOST:PORT"),
        (listen_address, "999.1.1.1:0", "'999.1.1.1' isn't an address of this machine, nor a name"),
        (listen_address, "nowhere.invalid:0", "'nowhere.invalid' isn't an address"),
        (listen_address, "a" * 70 + ":0", "isn't an address"),
        (shown_text(3), "long", "at most 3 printable characters"),
        (host_port, "here:" + "9" * 5000, "HOST:PORT"),
        (listen_address, "nowhere", "HOST:PORT"),
        (span, "20:10", "start < end"),
        (span, "ten", "START:END, like 10:20"),
    ],
)
def test_a_wrong_value_is_answered_with_what_was_expected(
    parse: Callable[[str], object], text: str, message: str
):
    with pytest.raises(ArgumentTypeError, match=message):
        parse(text)

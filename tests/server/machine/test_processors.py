"""The processors that a server can use."""

from __future__ import annotations

from p2pinfer.server.machine.processors import processors


def test_there_is_a_processor():
    assert processors() >= 1

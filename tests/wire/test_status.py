"""Refusals, whose words a stranger may have written."""

from __future__ import annotations

import pytest

from p2pinfer.errors import ProtocolError
from p2pinfer.wire.status import Reason, Refused, as_refused

EVIL = "\x1b]0;title\x07\r\nERROR\u202e" * 5_000


@pytest.mark.parametrize(
    "refused",
    [
        Refused(Reason.WRONG_SERVER, f"the opening is for {EVIL}"),
        as_refused(ProtocolError(EVIL)),
        as_refused(Refused(Reason.BUSY, EVIL)),
    ],
    ids=["quoted", "a protocol error", "a refusal"],
)
def test_a_refusal_is_one_printable_line(refused: Refused):
    """A server logs it, passes it on to clients, and has it from the next hop."""
    assert refused.detail == str(refused)
    assert refused.detail.isprintable() and len(refused.detail) <= 300

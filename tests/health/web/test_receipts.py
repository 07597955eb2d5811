"""Receipts that a reader submits over a real port."""

from __future__ import annotations

import http.client

from p2pinfer.errors import DatabaseError
from p2pinfer.health.snapshot.source import MAX_BUNDLE_BYTES
from tests.health.web.asking import Answer, ask, fresh_state
from tests.health.web.serving import FakeSource, Served, served


def test_receipts_are_handed_on_as_they_come(page: Served):
    answer = ask(page, "/api/v1/receipts", method="POST", body=b"p2pinfer receipts 1\n")
    assert answer.status == 200 and answer.json == {"taken": 1, "known": 0, "refused": []}
    assert b"".join(page.source.received) == b"p2pinfer receipts 1\n"


def test_what_is_no_bundle_is_refused_with_what_to_do():
    """The answer has the source's reason, and what to do."""
    source = FakeSource(fresh_state())
    source.refuse = "that is no bundle"
    with served(source) as page:
        answer = ask(page, "/api/v1/receipts", method="POST", body=b"{}")
        assert answer.status == 400
        assert answer.json["error"] == "that is no bundle" and "owner export" in answer.json["what_to_do"]


def test_a_leaderboard_that_cannot_be_written_is_no_fault_of_the_sender(caplog):
    """A full disk: the sender tries again later, and the operator reads why."""
    source = FakeSource(fresh_state())
    source.fail_with = DatabaseError("leaderboard can't be written (disk full)")
    with served(source) as page:
        answer = ask(page, "/api/v1/receipts", method="POST", body=b"p2pinfer receipts 1\n")
        assert answer.status == 503
        assert "Try again later" in answer.json["what_to_do"]
        assert "disk" not in answer.text
    assert "disk full" in caplog.text


def test_too_large_a_bundle_is_refused_whether_it_says_so_or_not(page: Served):
    """At once by its declared length; without one as soon as there are too many bytes."""
    connection = http.client.HTTPConnection("127.0.0.1", page.server.port, timeout=20)
    connection.putrequest("POST", "/api/v1/receipts")
    connection.putheader("Content-Length", str(10**30))
    connection.endheaders()
    assert connection.getresponse().status in (400, 413)
    connection.close()
    connection = http.client.HTTPConnection("127.0.0.1", page.server.port, timeout=20)
    connection.putrequest("POST", "/api/v1/receipts")
    connection.putheader("Content-Length", str(MAX_BUNDLE_BYTES + 1))
    connection.endheaders()
    answer = Answer(connection.getresponse())
    assert answer.status == 413 and "month" in answer.json["what_to_do"]
    connection.close()
    parts = (b"x" * 100_000 for _ in range(MAX_BUNDLE_BYTES // 100_000 + 1))
    assert ask(page, "/api/v1/receipts", method="POST", body=parts).status == 413

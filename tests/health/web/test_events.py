"""Listeners of the page over a real port: their messages, their number, their end."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator

import pytest

from p2pinfer.http import server as web_server
from tests.health.web.asking import ask, fresh_state
from tests.health.web.serving import FakeSource, Served, served


def test_listeners_hear_of_new_snapshots_and_that_the_page_is_there():
    """The id of the newest snapshot at once, of each later one, and heartbeats between."""
    with served(FakeSource(fresh_state()), heartbeat_seconds=0.3) as page:
        connection, lines = _listen(page)
        first = next(line for line in lines if line.startswith("data:"))
        page.source.publish(fresh_state(servers=[]))
        second = next(line for line in lines if line.startswith("data:"))
        assert json.loads(first[5:])["id"] != json.loads(second[5:])["id"]
        assert any(line.startswith(":") for line in lines)
        connection.close()


def test_too_many_listeners_are_told_to_poll():
    """503 with Retry-After; a place becomes free when a listener leaves."""
    with served(FakeSource(fresh_state()), most_listeners=2) as page:
        connections = [_listen(page)[0] for _ in range(2)]
        refused = ask(page, "/api/v1/events")
        assert refused.status == 503 and int(refused.headers["retry-after"]) > 0
        assert ask(page, "/api/v1/events", method="HEAD").status == 503
        connections[0].close()
        deadline = time.monotonic() + 60
        while page.server.config.app.state.events.listeners == 2:
            assert time.monotonic() < deadline
        connections[1].close()


def test_a_newcomer_takes_the_place_of_a_source_that_has_more():
    """One address may have all places only as long as nobody else comes; its own newcomers are refused."""
    with served(FakeSource(fresh_state()), most_listeners=3) as page:
        crowd = [_listen(page, "127.1.1.1") for _ in range(3)]
        newcomer, lines = _listen(page)
        list(zip(range(4), lines, strict=False))
        list(crowd[0][1])  # ends, and without an error
        assert page.server.config.app.state.events.listeners == 3
        connection = _connection(page, "127.1.1.1")
        connection.request("GET", "/api/v1/events")
        assert connection.getresponse().status == 503
        newcomer.close()


def test_the_page_ends_while_a_listener_is_connected(monkeypatch: pytest.MonkeyPatch):
    """Streams end first, so that the end doesn't wait for them."""
    monkeypatch.setattr(web_server, "_GRACE_SECONDS", 60)
    with served(FakeSource(fresh_state())) as page:
        connection, lines = _listen(page)
        next(lines)
        started = time.monotonic()
        page.stop()
        assert time.monotonic() - started < 30
        list(lines)  # ends without an error: the last chunk came
        connection.close()


def _connection(page: Served, host: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", page.server.port, timeout=20, source_address=(host, 0))


def _listen(page: Served, host: str = "127.0.0.1") -> tuple[http.client.HTTPConnection, Iterator[str]]:
    connection = _connection(page, host)
    connection.request("GET", "/api/v1/events")
    response = connection.getresponse()
    assert response.status == 200 and response.headers["content-type"].startswith("text/event-stream")
    return connection, (line.decode() for line in iter(response.readline, b""))

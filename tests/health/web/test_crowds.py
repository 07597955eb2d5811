"""Strangers who take all they can of a page, and a visitor who comes meanwhile. Over a real port."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from p2pinfer.health.snapshot.source import MAX_BUNDLE_BYTES
from p2pinfer.http.server import MOST_CONNECTIONS
from p2pinfer.swarm.open_files import allow_open_files
from tests.health.web.asking import ask, fresh_state
from tests.health.web.serving import FakeSource, Served, served

ONE = ("127.1.1.1",)
SIXTEEN = tuple(f"127.1.{number}.1" for number in range(16))
AT_ONCE_SECONDS = 15.0  # for three requests, on a machine that others use
HALF = b"GET / HTTP/1.1\r\nhost: a\r\n"
EVENTS = b"GET /api/v1/events HTTP/1.1\r\nhost: a\r\n\r\n"
SLOW_BUNDLE = b"POST /api/v1/receipts HTTP/1.1\r\nhost: a\r\ncontent-length: 7000000\r\n\r\n" + b"p2p"


@pytest.fixture
def crowded() -> Iterator[ExitStack]:
    """Closes what an attacker has opened. Both ends of all of it are in this process."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allow_open_files(3 * MOST_CONNECTIONS) < 3 * MOST_CONNECTIONS:
        pytest.skip("this system doesn't let a process open so many files")
    with ExitStack() as opened:
        yield opened
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def attack(page: Served, opened: ExitStack, hosts: tuple[str, ...], number: int, sent: bytes) -> None:
    """Open connections from these addresses, and send the same on each."""
    for place in range(number):
        connection = opened.enter_context(socket.socket())
        connection.settimeout(20)
        connection.bind((hosts[place % len(hosts)], 0))
        connection.connect(("127.0.0.1", page.server.port))
        connection.sendall(sent)


def assert_open(page: Served) -> None:
    """A visitor gets the page, its events, and receipts in, at once."""
    started = time.monotonic()
    assert ask(page, "/").status == 200
    assert ask(page, "/api/v1/events", method="HEAD").status == 200
    assert ask(page, "/api/v1/receipts", method="POST", body=b"p2pinfer receipts 1\n").status == 200
    assert time.monotonic() - started < AT_ONCE_SECONDS


@pytest.mark.parametrize(
    ("hosts", "number", "sent"),
    [
        (ONE, 2_100, HALF),
        (SIXTEEN, 2_100, HALF),
        (ONE, 2_100, b""),
        (ONE, 600, EVENTS),
        (SIXTEEN, 2_100, EVENTS),
        (SIXTEEN, 100, SLOW_BUNDLE),
    ],
    ids=["half", "half of sixteen", "silent", "listeners", "listeners of sixteen", "bundles of sixteen"],
)
def test_a_visitor_gets_in(crowded: ExitStack, hosts: tuple[str, ...], number: int, sent: bytes):
    with served(FakeSource(fresh_state())) as page:
        attack(page, crowded, hosts, number, sent)
        assert_open(page)


def test_large_bundles_that_do_not_end_take_bounded_memory(crowded: ExitStack):
    """The oldest of the crowd is given up, and told so; a visitor's bundle comes in meanwhile."""
    source = FakeSource(fresh_state())
    with served(source) as page:
        attack(page, crowded, ONE, 30, SLOW_BUNDLE + b"x" * 5_000_000)
        body = b"y" * (MAX_BUNDLE_BYTES - 1_000)
        assert ask(page, "/api/v1/receipts", method="POST", body=body).status == 200
        assert b"".join(source.received) == body


def test_a_flood_of_requests_is_told_to_wait():
    """Others aren't."""
    with served(FakeSource(fresh_state())) as page, socket.socket() as connection:
        connection.bind(("127.1.1.1", 0))
        connection.connect(("127.0.0.1", page.server.port))
        found = b""
        for _ in range(400):
            connection.sendall((b"HEAD /api/v1/history HTTP/1.1\r\nhost: a\r\n\r\n") * 10)
            while not found.endswith(b"\r\n\r\n") or found.count(b"HTTP/1.1 ") < 10:
                found += connection.recv(65_536)
            if b" 429 " in found:
                break
            found = b""
        assert b"retry-after: 1\r\n" in found
        assert ask(page, "/").status == 200

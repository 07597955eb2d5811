"""Who a visitor is behind reverse proxies."""

from __future__ import annotations

import argparse

import pytest

from p2pinfer.http.connections.proxies import network, visitor

PROXIES = (network("127.0.0.1"), network("10.0.0.0/8"))


def ask(host: str, *said: str) -> str:
    """The visitor who a request is from."""
    return visitor(host, [(b"x-forwarded-for", text.encode()) for text in said], PROXIES)


@pytest.mark.parametrize(
    ("host", "said", "expected"),
    [
        ("127.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("::ffff:127.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("127.0.0.1", ["203.0.113.7, 10.1.1.1"], "203.0.113.7"),
        ("127.0.0.1", ["198.51.100.9, 203.0.113.7"], "203.0.113.7"),
        ("127.0.0.1", ["198.51.100.9", "203.0.113.7"], "203.0.113.7"),
        ("127.0.0.1", ["203.0.113.7:4711"], "203.0.113.7"),
        ("127.0.0.1", ["[2001:db8::7]:4711"], "2001:db8::7"),
        ("127.0.0.1", ["unknown"], "127.0.0.1"),
        ("127.0.0.1", ["203.0.113.7, nonsense, 10.1.1.1"], "10.1.1.1"),
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["9," * 50_000], "127.0.0.1"),
        ("198.51.100.1", ["203.0.113.7"], "198.51.100.1"),
        ("", ["203.0.113.7"], ""),
    ],
    ids=str,
)
def test_the_last_address_that_is_no_proxy_is_the_visitor(host: str, said: list[str], expected: str):
    """What stands in front of it, anybody may have written; and so may anybody who is no proxy."""
    assert ask(host, *said) == expected


def test_without_named_proxies_the_header_counts_nothing():
    assert visitor("127.0.0.1", [(b"x-forwarded-for", b"203.0.113.7")], ()) == "127.0.0.1"


def test_what_is_no_address_is_no_proxy():
    with pytest.raises(argparse.ArgumentTypeError, match=r"10\.0\.0\.0/8"):
        network("nginx")

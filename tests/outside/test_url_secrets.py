"""No password of an address is shown, and everything else of a text is."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.outside.url_secrets import masked


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:s3cret@home.example:8123/api", "http://***@home.example:8123/api"),
        ("http://s3cret@home.example", "http://***@home.example"),
        ("wss://me:p@ss:w@rd@[::1]:8123", "wss://***@[::1]:8123"),
        ("can't reach mqtt://a:b@c, nor HTTPS://d:e@f!", "can't reach mqtt://***@c, nor HTTPS://***@f!"),
        ("http://me:pa/ss?w@home:1/x", "http://***@home:1/x"),
        ('url = "http://me:s3cret@home"', 'url = "http://***@home"'),
        ("https://home/api?access_token=s3cret&x=1#y", "https://home/api?access_token=***&x=1#y"),
        ("https://home/?a=1&Key=s3cret", "https://home/?a=1&Key=***"),
    ],
)
def test_what_is_secret_in_an_address_is_masked(text: str, shown: str):
    assert masked(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "http://homeassistant.local:8123",
        "https://home/a@b?c=d@e",
        "https://home:8123/a@b",
        "http://[::1]:8123/a@b",
        "mail me@example.org about a://b",
        "NAME@HASH",
        "/ip4/1.2.3.4/tcp/1/p2p/12D3",
        "",
    ],
)
def test_what_holds_no_secret_stays(text: str):
    assert masked(text) == text


@given(st.text())
def test_it_is_the_same_when_done_twice(text: str):
    assert masked(masked(text)) == masked(text)


@pytest.mark.parametrize("part", ["http://", "http://a:b", "http://a", "a", "@", "?token=", "a-a.a+"])
def test_a_long_text_takes_no_long_time(part: str):
    began = time.process_time()
    masked(part * 20_000)
    assert time.process_time() - began < 2

"""Texts of strangers, cleaned."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pinfer.health.snapshot.plain import clean_text, without_addresses
from tests.health.states import HOSTILE_TEXTS


@pytest.mark.parametrize(
    "text", ["at 12:30:45", "layers 10:20", "StatusCode::UNAVAILABLE", "version 0.1.0", "0.1.0.dev1"]
)
def test_what_only_looks_like_an_address_stays(text: str):
    """Times, layers and names of code."""
    assert without_addresses(text) == text


@pytest.mark.parametrize("text", ["/ip4/10.0.0.1/tcp/4600", "at fe80::1.", "ipv6:%5B::1%5D:4600", "10.0.0.1"])
def test_addresses_are_hidden_however_they_are_written(text: str):
    """Multiaddresses, the end of a sentence, escaped addresses."""
    assert "[address]" in without_addresses(text)
    assert not {"10.0.0.1", "fe80::1", "::1"} & set(without_addresses(text).replace("%", "/").split("/"))


@given(st.text() | st.sampled_from(HOSTILE_TEXTS), st.integers(1, 300))
@settings(max_examples=200)
def test_a_cleaned_text_is_one_short_plain_line(text: str, most: int):
    cleaned = clean_text(text, most)

    assert len(cleaned) <= most
    assert cleaned.isprintable()
    assert cleaned.encode("utf-8") == cleaned.encode("utf-8", "replace")
    assert clean_text(cleaned, most) == cleaned


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("  Golf ", "Golf"),
        ("e" + "\u0301" * 50 + "t", "e\u0301\u0301\u0301t"),
        ("\u0301accents first", "accents first"),
        ("\u3164\u2800", "??"),
        ("a\nb\x1b", "a?b?"),
        ("x" * 100, "x" * 63 + "…"),
    ],
)
def test_names_are_readable_or_marked(text: str, cleaned: str):
    """No towers of accents, no invisible letters, no line breaks."""
    assert clean_text(text) == cleaned

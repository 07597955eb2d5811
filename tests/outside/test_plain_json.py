"""JSON from strangers: what is read, and that nothing but ValueError comes out, soon."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pinfer.outside.plain_json import MOST_DEPTH, is_nested_within, read_json

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=30,
)


def depth_of(value: Any) -> int:
    """Levels of lists and objects."""
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


@settings(max_examples=200)
@given(values, st.booleans())
def test_json_is_read_as_json_loads_does_and_its_depth_is_known(value: Any, is_ascii: bool):
    """Brackets in strings don't count."""
    text = json.dumps(value, ensure_ascii=is_ascii)
    depth = depth_of(value)

    assert read_json(text) == value
    assert is_nested_within(text.encode("utf-8", "surrogatepass"), depth)
    if depth:
        assert not is_nested_within(text.encode("utf-8", "surrogatepass"), depth - 1)


@settings(max_examples=300)
@given(st.text(alphabet='[]{}",:\\a1', max_size=300), st.binary(max_size=100))
def test_other_text_is_a_value_error_and_nothing_else(text: str, data: bytes):
    for given_text in (text, data):
        with contextlib.suppress(ValueError):
            assert depth_of(read_json(given_text, most_depth=20)) <= 20


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[" * 100_000, id="brackets that only open"),
        pytest.param("[" * 65 + "]" * 65, id="one level too many"),
        pytest.param('{"a":[' * 40 + "]}" * 40, id="both kinds"),
        pytest.param("[[]," + "[" * 900 + "]" * 900 + "]", id="deep in the second element"),
        pytest.param('["\\"[",' + "[" * 900 + "]" * 900 + "]", id="after a quote in a string"),
    ],
)
def test_what_is_nested_too_deep_is_said_to_be(text: str):
    with pytest.raises(ValueError, match="nested deeper than 64 levels"):
        read_json(text)


def test_the_deepest_is_read():
    text = "[" * MOST_DEPTH + "]" * MOST_DEPTH
    assert depth_of(read_json(text)) == MOST_DEPTH
    assert depth_of(read_json(f"[{text[1:-1]},{text[1:-1]}]")) == MOST_DEPTH


def test_what_is_too_long_is_not_read():
    with pytest.raises(ValueError, match="it has 12 bytes, and at most 10 are read"):
        read_json('"aaaaaaaaaa"', most_bytes=10)


def test_an_integer_of_thousands_of_digits_is_a_value_error():
    with pytest.raises(ValueError, match="4300 digits"):
        read_json("[" + "1" * 5_000 + "]")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('"' + '\\"' * 500_000, id="a string without end"),
        pytest.param('"' * 1_000_001, id="quotes"),
        pytest.param("[]" * 500_000, id="pairs"),
        pytest.param("]" * 1_000_000, id="brackets that close"),
        pytest.param("[" * 500_000 + "]" * 500_000, id="a mountain"),
        pytest.param("[" + ",".join(["[[[[]]]]"] * 100_000) + "]", id="many small ones"),
        pytest.param('"\\' * 500_000, id="backslashes"),
    ],
)
def test_the_look_at_the_depth_takes_no_longer_for_odd_text(text: str):
    """A megabyte: 20 ms; a search that goes back would take minutes."""
    began = time.process_time()
    is_nested_within(text.encode(), MOST_DEPTH)
    assert time.process_time() - began < 2

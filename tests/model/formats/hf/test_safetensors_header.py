"""Headers of safetensors files, ours and anybody's."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.errors import ModelError
from p2pinfer.model.formats.hf.configs import licence_of
from p2pinfer.model.formats.hf.safetensors_header import header_bytes, parse_header, read_header

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("F32"),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["dtype", "shape", "data_offsets", "__metadata__", "norm.weight"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


def test_a_header_says_where_the_numbers_are(tmp_path: Path):
    tensors = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4, dtype=torch.bfloat16)}
    safetensors.torch.save_file(tensors, tmp_path / "x", metadata={"format": "pt"})
    found = read_header(tmp_path / "x")
    data = (tmp_path / "x").read_bytes()

    assert found.keys() == {"a", "b"}
    assert (found["a"].kind, found["a"].shape) == ("F32", (2, 3))
    assert data[found["a"].start : found["a"].end] == tensors["a"].numpy().tobytes()


def parsed(data: bytes) -> None:
    """Raises nothing but ModelError."""
    with suppress(ModelError):
        parse_header(data[: header_bytes(data[:8], len(data), "x")], len(data), "x")


@given(st.binary(max_size=64))
def test_no_bytes_raise_anything_else(data: bytes):
    parsed(data)
    parsed(len(data).to_bytes(8, "little") + data)


@given(JSON)
def test_no_json_raises_anything_else(value: object):
    text = json.dumps(value).encode()
    parsed(len(text).to_bytes(8, "little") + text + bytes(64))


@given(st.text(max_size=200))
def test_no_card_raises_anything(text: str):
    licence_of(text)
    licence_of(f"---\nlicense:{text}")


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(ModelError, match="nothing can't be read"):
        read_header(tmp_path / "nothing")

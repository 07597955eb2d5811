"""Sets of chunks survive the wire, and a stranger's bitmap is a set or an error."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.errors import ProtocolError
from p2pinfer.sharing import bitmaps


@given(total=st.integers(0, 300), data=st.data())
def test_a_set_comes_back_as_it_was(total: int, data: st.DataObject):
    """From whatever chunk the bitmap begins."""
    numbers = data.draw(st.sets(st.integers(0, max(0, total - 1)), max_size=total))
    first = data.draw(st.integers(0, min(numbers, default=total)))
    mask = bitmaps.mask_of(numbers, total)

    found = bitmaps.unpack(bitmaps.pack(mask, first), first, total)

    assert bitmaps.numbers_of(found) == sorted(numbers)


def test_chunk_n_is_a_bit_of_byte_n_over_8():
    """The contract with other programs."""
    assert bitmaps.pack(bitmaps.mask_of([0, 3, 9], 20)) == bytes([0b1001, 0b10])
    assert bitmaps.pack(bitmaps.empty(20)) == b""


def test_a_huge_model_has_several_bitmaps():
    """Each fits into one message."""
    total = bitmaps.MOST_CHUNKS + 10
    mask = bitmaps.mask_of([1, bitmaps.MOST_CHUNKS, total - 1], total)

    pieces = list(bitmaps.pack_all(mask))

    assert [first for first, _ in pieces] == [0, bitmaps.MOST_CHUNKS]
    found = bitmaps.unpack(pieces[0][1], 0, total) | bitmaps.unpack(pieces[1][1], pieces[1][0], total)
    assert np.array_equal(found, mask)


@given(data=st.binary(max_size=40), first=st.integers(-5, 2**32), total=st.integers(0, 200))
def test_any_bytes_are_a_set_of_the_models_chunks_or_an_error(data: bytes, first: int, total: int):
    """No other exception, no chunk that doesn't exist."""
    try:
        mask = bitmaps.unpack(data, first, total)
    except ProtocolError:
        return
    assert len(mask) == total and not mask[:first].any()


@pytest.mark.parametrize(
    ("data", "first"), [(b"\0" * (bitmaps.MOST_BYTES + 1), 0), (b"\x08", 0), (b"\1", 3), (b"", 4), (b"", -1)]
)
def test_a_bitmap_that_is_too_long_or_beyond_the_model_is_refused(data: bytes, first: int):
    """The model has three chunks."""
    with pytest.raises(ProtocolError):
        bitmaps.unpack(data, first, 3)

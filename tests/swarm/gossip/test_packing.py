"""Records in a message are bounded before they are read."""

from __future__ import annotations

import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.swarm.gossip.packing import MOST_BYTES, MOST_RECORDS, packed, unpacked
from p2pinfer.swarm.record_pb2 import RecordSet


@given(st.lists(st.binary(max_size=4096), max_size=5))
def test_what_is_packed_comes_out_again(records: list[bytes]) -> None:
    assert list(unpacked(packed(records, MOST_BYTES))) == records


@given(st.lists(st.binary(min_size=100, max_size=3000), max_size=10), st.integers(0, 9000))
def test_no_message_is_longer_than_its_room_and_the_first_records_are_in_it(
    records: list[bytes], room: int
) -> None:
    data = packed(records, room)
    assert len(data) <= room
    assert list(unpacked(data)) == records[: len(unpacked(data))]


def test_a_message_has_so_many_records_and_no_more() -> None:
    assert len(unpacked(packed([b"x"] * 1000, MOST_BYTES))) == MOST_RECORDS
    crowd = zlib.compress(RecordSet(records=[b""] * (MOST_RECORDS + 1)).SerializeToString())
    with pytest.raises(ValueError, match="more than 64 records"):
        unpacked(crowd)


@given(st.binary(max_size=200))
def test_whatever_comes_it_is_records_or_an_error(data: bytes) -> None:
    for given_bytes in (data, zlib.compress(data)):
        with suppress(ValueError):
            assert len(unpacked(given_bytes)) <= MOST_RECORDS


@pytest.mark.parametrize(
    "data",
    [
        zlib.compress(bytes(50_000_000), 1),
        bytes(MOST_BYTES + 1),
        zlib.compress(b"x" * 1000)[:-4],
        zlib.compress(b"") + b"more",
    ],
    ids=["bomb", "long", "cut", "more"],
)
def test_bombs_and_what_is_cut_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="records"):
        unpacked(data)

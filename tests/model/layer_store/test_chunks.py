"""Files in numbered chunks: the same hashes however a file is written, and a place for every number."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.model.layer_store.chunks import CHUNK_BYTES, ChunkMap, FileDigest, FileEntry, number_of_chunks


@given(
    size=st.sampled_from([0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES + 5]),
    cuts=st.lists(st.integers(0, 3 * CHUNK_BYTES), max_size=4),
)
def test_a_file_has_the_same_entry_however_it_is_passed(size: int, cuts: list[int]):
    """Writers pass headers and tensors of any length."""
    data = bytes(range(251)) * (size // 251 + 1)
    data = data[:size]
    digest = FileDigest()
    edges = [0, *sorted(min(cut, size) for cut in cuts), size]
    for start, end in pairwise(edges):
        digest.update(data[start:end])
    entry = digest.entry()

    pieces = [data[start : start + CHUNK_BYTES] for start in range(0, size, CHUNK_BYTES)]
    assert entry == FileEntry(
        hashlib.sha256(data).hexdigest(), size, tuple(hashlib.sha256(piece).hexdigest() for piece in pieces)
    )
    assert len(entry.chunks) == number_of_chunks(size)


def entry_of(size: int) -> FileEntry:
    """An entry whose chunk hashes are their own numbers."""
    return FileEntry("0" * 64, size, tuple(f"{size}-{index}" for index in range(number_of_chunks(size))))


def test_every_number_has_one_place_in_the_order_of_the_names():
    """Files without a byte have no chunk."""
    sizes = {"b": CHUNK_BYTES + 7, "a": 3, "c": 0, "d": 2 * CHUNK_BYTES, "0": 0}
    chunks = ChunkMap({name: entry_of(size) for name, size in sizes.items()})

    places = [chunks.place(number) for number in range(chunks.total)]
    assert [(place.file, place.offset, place.size) for place in places] == [
        ("a", 0, 3),
        ("b", 0, CHUNK_BYTES),
        ("b", CHUNK_BYTES, 7),
        ("d", 0, CHUNK_BYTES),
        ("d", CHUNK_BYTES, CHUNK_BYTES),
    ]
    assert [place.sha256 for place in places][1:3] == [f"{CHUNK_BYTES + 7}-0", f"{CHUNK_BYTES + 7}-1"]
    assert list(chunks.chunks_of("c")) == []
    assert chunks.numbers_of(["d", "a"]) == [0, 3, 4]
    for number in (-1, 5):
        with pytest.raises(IndexError):
            chunks.place(number)

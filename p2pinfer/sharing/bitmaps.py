"""Sets of chunks: as masks in memory, as bitmaps on the wire.

A mask is a bool array [chunks of the model]. In a bitmap chunk n is bit n % 8 of byte n // 8; bit 0 is the
lowest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from p2pinfer.errors import ProtocolError

Mask = NDArray[np.bool_]

MOST_BYTES = 32 * 1024
"""Of one bitmap. It tells of 262,144 chunks, a quarter of a terabyte; a larger model has several bitmaps."""

MOST_CHUNKS = 8 * MOST_BYTES


def empty(total: int) -> Mask:
    """No chunk of `total`."""
    return np.zeros(total, dtype=np.bool_)


def mask_of(numbers: Iterable[int], total: int) -> Mask:
    """These chunks of `total`."""
    mask = empty(total)
    mask[np.fromiter(numbers, dtype=np.int64)] = True
    return mask


def numbers_of(mask: Mask) -> list[int]:
    """The numbers in a mask, ascending."""
    return [int(number) for number in np.flatnonzero(mask)]


def pack(mask: Mask, first: int = 0) -> bytes:
    """The bitmap of the chunks from `first` on, cut behind the last one that is set, and at MOST_BYTES."""
    bits = mask[first : first + MOST_CHUNKS]
    return np.packbits(bits, bitorder="little").tobytes().rstrip(b"\0")


def pack_all(mask: Mask) -> Iterator[tuple[int, bytes]]:
    """All bitmaps of a mask, each with the chunk of its first bit; at least one."""
    for first in range(0, max(1, len(mask)), MOST_CHUNKS):
        yield first, pack(mask, first)


def unpack(data: bytes, first: int, total: int) -> Mask:
    """Read a stranger's bitmap, whose first bit is chunk `first`, as a mask of `total` chunks.

    Raises ProtocolError if it is too long, or names a chunk that the model doesn't have.
    """
    if len(data) > MOST_BYTES or not 0 <= first <= total:
        raise ProtocolError(f"a bitmap of {len(data)} bytes that begins at chunk {first} of {total}")
    bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8), bitorder="little").view(np.bool_)
    here = bits[: total - first]
    if bits[len(here) :].any():
        raise ProtocolError(f"a bitmap names chunks beyond the model's {total}")
    mask = empty(total)
    mask[first : first + len(here)] = here
    return mask

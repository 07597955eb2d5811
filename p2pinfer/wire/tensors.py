"""Hidden states as bytes, and back. Sizes are the caller's to check before anything is read.

float32 is what the engines compute with: little-endian, row-major, nothing is lost. int8 is a client's
choice for slow uplinks: groups of 64 values are rotated (p2pinfer/hadamard.py), and sent for each token
are one float32 scale per group, then the values, each round(value / scale), half to even; a quarter of
the bytes (17 for every 64). IEEE arithmetic in a fixed order, so that every machine reads and writes
the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from p2pinfer.errors import InvalidTensorError
from p2pinfer.hadamard import GROUP, rotate
from p2pinfer.wire import inference_pb2 as pb

_FLOAT32 = np.dtype("<f4")
_SMALLEST_PEAK = np.float32(1e-30)
"""A group below this travels as zeros: 127 / peak would overflow."""

Hidden = NDArray[np.float32]


def hidden_bytes(tokens: int, columns: int, dtype: pb.WireDtype) -> int:
    """How long `encode_hidden` makes [tokens, columns]."""
    if dtype == pb.FLOAT32:
        return 4 * tokens * columns
    return tokens * (columns + 4 * _groups(columns))


def encode_hidden(hidden: Hidden, dtype: pb.WireDtype) -> bytes | memoryview:
    """Pack activations [tokens, columns]."""
    if dtype == pb.FLOAT32:
        hidden = np.ascontiguousarray(hidden, dtype=_FLOAT32)
        return hidden.data.cast("B") if hidden.size else b""
    with np.errstate(invalid="ignore", over="ignore"):  # what isn't finite is refused by the reader
        rotated = rotate(hidden)
        starts = np.arange(0, rotated.shape[1], GROUP)
        peaks = np.maximum.reduceat(np.abs(rotated), starts, axis=1)
        peaks[peaks < _SMALLEST_PEAK] = 0
        inverse = np.divide(np.float32(127), peaks, out=np.zeros_like(peaks), where=peaks > 0)
        values = np.rint(rotated * _spread(inverse, rotated.shape[1])).astype(np.int8)
        scales = (peaks / np.float32(127)).astype(_FLOAT32)
    return np.concatenate([scales.view(np.uint8), values.view(np.uint8)], axis=1).tobytes()


def decode_hidden(data: memoryview, tokens: int, columns: int, dtype: pb.WireDtype) -> Hidden:
    """Read what `encode_hidden` wrote; float32 comes as a read-only view of `data`.

    Raises InvalidTensorError if the length is another, or if a value is not finite: one NaN would
    poison a cache for the rest of the session.
    """
    expected = hidden_bytes(tokens, columns, dtype)
    if len(data) != expected:
        raise InvalidTensorError(
            f"{len(data)} bytes of hidden states were sent where [{tokens}, {columns}] takes {expected}"
        )
    if tokens == 0:
        return np.empty((0, columns), np.float32)
    if dtype == pb.FLOAT32:
        hidden = np.frombuffer(data, _FLOAT32).reshape(tokens, columns)
    else:
        packed = np.frombuffer(data, np.uint8).reshape(tokens, columns + 4 * _groups(columns))
        scale_bytes = 4 * _groups(columns)
        scales = np.ascontiguousarray(packed[:, :scale_bytes]).view(_FLOAT32)
        rotated = packed[:, scale_bytes:].view(np.int8).astype(np.float32)
        with np.errstate(invalid="ignore", over="ignore"):  # what isn't finite is refused below
            hidden = rotate(rotated * _spread(scales, columns))
    if not np.isfinite(hidden).all():
        raise InvalidTensorError("the activations hold NaN or infinity")
    return hidden


def _groups(columns: int) -> int:
    return -(-columns // GROUP)


def _spread(per_group: Hidden, columns: int) -> Hidden:
    """One value per column from one per group; the last group may be short."""
    return np.repeat(per_group, GROUP, axis=1)[:, :columns]

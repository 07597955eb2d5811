"""Hidden states as bytes, and back. The caller checks sizes before anything is read.

float32 is what the engines compute with: little-endian, row-major, nothing is lost. A client may choose int8
for a slow uplink. Then groups of 64 values are rotated (p2pinfer/hadamard.py), and each token is sent as one
float32 scale per group, followed by the values, each round(value / scale), half to even. That is a quarter
of the bytes (17 for every 64). IEEE arithmetic in a fixed order makes all machines read and write the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from p2pinfer.errors import InvalidTensorError
from p2pinfer.hadamard import GROUP, rotate
from p2pinfer.wire import inference_pb2 as pb

_FLOAT32 = np.dtype("<f4")
_SMALLEST_PEAK = np.float32(1e-30)
"""A group whose largest value is below this is sent as zeros: 127 / peak would overflow."""

Hidden = NDArray[np.float32]


def hidden_bytes(tokens: int, columns: int, dtype: pb.WireDtype) -> int:
    """The length of what `encode_hidden` returns for [tokens, columns]."""
    if dtype == pb.FLOAT32:
        return 4 * tokens * columns
    return tokens * (columns + 4 * _groups(columns))


def encode_hidden(hidden: Hidden, dtype: pb.WireDtype) -> bytes | memoryview:
    """Pack hidden states [tokens, columns]. Values that aren't finite are packed: the reader refuses them."""
    if dtype == pb.FLOAT32:
        hidden = np.ascontiguousarray(hidden, dtype=_FLOAT32)
        return hidden.data.cast("B") if hidden.size else b""
    with np.errstate(invalid="ignore", over="ignore"):  # the reader refuses values that aren't finite
        rotated = rotate(hidden)
        starts = np.arange(0, rotated.shape[1], GROUP)
        peaks = np.maximum.reduceat(np.abs(rotated), starts, axis=1)
        peaks[peaks < _SMALLEST_PEAK] = 0
        inverse = np.divide(np.float32(127), peaks, out=np.zeros_like(peaks), where=peaks > 0)
        values = np.rint(rotated * _spread(inverse, rotated.shape[1])).astype(np.int8)
        scales = (peaks / np.float32(127)).astype(_FLOAT32)
    return np.concatenate([scales.view(np.uint8), values.view(np.uint8)], axis=1).tobytes()


def decode_hidden(data: memoryview, tokens: int, columns: int, dtype: pb.WireDtype) -> Hidden:
    """Unpack hidden states [tokens, columns]; for float32 they are a read-only view of `data`.

    Raises InvalidTensorError if the length is wrong, or if a value isn't finite: one NaN would spoil a cache
    for the rest of the session.
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
        with np.errstate(invalid="ignore", over="ignore"):  # refused below
            hidden = rotate(rotated * _spread(scales, columns))
    if not np.isfinite(hidden).all():
        raise InvalidTensorError("the hidden states contain NaN or infinity")
    return hidden


def _groups(columns: int) -> int:
    return -(-columns // GROUP)


def _spread(per_group: Hidden, columns: int) -> Hidden:
    """One value per column from one per group; the last group may be short."""
    return np.repeat(per_group, GROUP, axis=1)[:, :columns]

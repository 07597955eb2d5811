"""Tensors as bytes. Every size is checked against what the session allows before it is believed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from p2pinfer.errors import InvalidTensorError
from p2pinfer.wire import inference_pb2 as pb

_FLOAT32 = np.dtype("<f4")


def encode_hidden(hidden: NDArray[np.float32]) -> pb.Tensor:
    """Pack activations [tokens, hidden_size]."""
    rows, columns = hidden.shape
    data = np.ascontiguousarray(hidden, dtype=_FLOAT32).tobytes()
    return pb.Tensor(dtype=pb.FLOAT32, rows=rows, columns=columns, data=data)


def decode_hidden(tensor: pb.Tensor, *, rows: int, columns: int) -> NDArray[np.float32]:
    """Return [rows, columns] as a read-only view of the message's bytes.

    Raises InvalidTensorError if dtype, shape or length differ from what was agreed, or if a value
    is not finite: one NaN would poison a cache for the rest of the session.
    """
    if tensor.dtype != pb.FLOAT32:
        raise InvalidTensorError(f"dtype {tensor.dtype} was sent where FLOAT32 was agreed")
    if (tensor.rows, tensor.columns) != (rows, columns):
        raise InvalidTensorError(
            f"shape [{tensor.rows}, {tensor.columns}] was sent where [{rows}, {columns}] was agreed"
        )
    expected_bytes = rows * columns * _FLOAT32.itemsize
    if len(tensor.data) != expected_bytes:
        raise InvalidTensorError(f"{len(tensor.data)} bytes were sent where {expected_bytes} were declared")
    hidden = np.frombuffer(tensor.data, dtype=_FLOAT32).reshape(rows, columns)
    if not np.isfinite(hidden).all():
        raise InvalidTensorError("the activations hold NaN or infinity")
    return hidden

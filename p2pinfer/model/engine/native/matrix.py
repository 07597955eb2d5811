"""One INT8 matrix by itself, through the native kernels: the client's head."""

from __future__ import annotations

import ctypes

import numpy as np
from numpy.typing import NDArray

from p2pinfer.model.engine.native import library


class NativeInt8Matrix:
    """y = x (weight * scale)^T, x rotated and quantized in groups of 64. Threads may share it."""

    def __init__(
        self,
        weight: NDArray[np.int8],
        scale: NDArray[np.float32],
        *,
        threads: int | None = None,
        isa: str | None = None,
    ) -> None:
        """Pack `weight` [outputs, inputs], in -127..127, and `scale` [outputs].

        Raises ValueError for other shapes or dtypes, StoreError for values that aren't allowed,
        UsageError without a native engine, and MemoryError.
        """
        if weight.ndim != 2 or weight.dtype != np.int8 or 0 in weight.shape:
            raise ValueError(f"weight must be int8 [outputs, inputs], not {weight.dtype} {weight.shape}")
        if scale.shape != weight.shape[:1] or scale.dtype != np.float32:
            raise ValueError(f"scale must be float32 {weight.shape[:1]}, not {scale.dtype} {scale.shape}")
        weight, scale = np.ascontiguousarray(weight), np.ascontiguousarray(scale)
        self._library = library.library()
        self._outputs, self._inputs = weight.shape
        handle = ctypes.c_void_p()
        library.check(
            self._library.p2p_matrix_create(
                self._outputs,
                self._inputs,
                weight.ctypes.data,
                scale.ctypes.data,
                threads or library.default_threads(),
                library.isa_value(isa),
                ctypes.byref(handle),
            )
        )
        self._handle = handle
        library.freed_with(self, self._library.p2p_matrix_free, handle)

    @property
    def bytes(self) -> int:
        """Memory of weights and scales."""
        return int(self._library.p2p_matrix_bytes(self._handle))

    def multiply(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map [tokens, inputs] to [tokens, outputs]. Raises ValueError for other shapes or dtypes."""
        if x.ndim != 2 or x.shape[1] != self._inputs or x.dtype != np.float32:
            raise ValueError(f"x must be float32 [tokens, {self._inputs}], not {x.dtype} {x.shape}")
        x = np.ascontiguousarray(x)
        y = np.empty((len(x), self._outputs), np.float32)
        library.check(self._library.p2p_matrix_multiply(self._handle, x.ctypes.data, len(x), y.ctypes.data))
        return y

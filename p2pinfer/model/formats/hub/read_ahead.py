"""Reads the next block of a tensor while the last one is quantized: the network needn't wait for the CPU."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future

Read = Callable[[str, int, int], bytearray]
"""File, start, end -> bytes, as `HubFiles.read`."""

LEAST_BYTES = 1 << 20
"""Nothing is read ahead of smaller blocks: of small tensors, or for a caller that wants few rows."""
_MOST_WAITING = 2  # two tensors that are compared block by block


class ReadAhead:
    """Blocks of files in order. What was read ahead and isn't asked for is dropped."""

    def __init__(self, read: Read) -> None:
        """`read` is called from this thread and from others."""
        self._read = read
        self._waiting: dict[tuple[str, int, int], Future[bytearray]] = {}

    def read(self, file: str, start: int, end: int, last: int) -> bytearray:
        """The bytes [start, end). The next block of the same size, up to `last`, is begun meanwhile.

        Raises what `read` raises for this block, also if it was read ahead.
        """
        begun = self._waiting.pop((file, start, end), None)
        data = self._read(file, start, end) if begun is None else begun.result()
        if end - start >= LEAST_BYTES and end < last:
            self._begin((file, end, min(2 * end - start, last)))
        return data

    def _begin(self, block: tuple[str, int, int]) -> None:
        while len(self._waiting) >= _MOST_WAITING:
            self._waiting.pop(next(iter(self._waiting)))
        future: Future[bytearray] = Future()
        self._waiting[block] = future
        # A daemon: a program that is interrupted doesn't wait for it.
        threading.Thread(target=self._work, args=(block, future), name="read-ahead", daemon=True).start()

    def _work(self, block: tuple[str, int, int], future: Future[bytearray]) -> None:
        try:
            future.set_result(self._read(*block))
        except BaseException as error:  # noqa: BLE001 - whoever asks for the block gets it
            future.set_exception(error)

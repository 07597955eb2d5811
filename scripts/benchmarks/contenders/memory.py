"""How fast this machine's threads read memory that isn't in a cache.

Which of numpy's loops reads fastest differs between machines, so several are timed, and the fastest is the
measure.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy is imported: this module starts its own threads

import numpy as np
from numpy.typing import NDArray

Read = Callable[[NDArray[np.int64]], object]

READS: dict[str, Read] = {
    "sum of int64": np.add.reduce,
    "xor of int64": np.bitwise_xor.reduce,
    "dot of float32": lambda part: np.dot(part.view(np.float32), part.view(np.float32)),
    "dot of float64": lambda part: np.dot(part.view(np.float64), part.view(np.float64)),
}
PASSES = 3


def load(megabytes: int, threads: int) -> dict[str, Callable[..., dict[str, Any]]]:
    """Fill the memory to read, one part for every thread."""
    parts = np.array_split(np.ones(megabytes * 125_000, np.int64), threads)
    pool = ThreadPoolExecutor(threads)

    def seconds(read: Read) -> float:
        began = time.perf_counter()
        list(pool.map(read, parts))
        return time.perf_counter() - began

    def measure() -> dict[str, Any]:
        gigabytes = sum(part.nbytes for part in parts) / 1e9
        return {
            "gigabytes_per_second": {
                name: gigabytes / statistics.median(seconds(read) for _ in range(PASSES))
                for name, read in READS.items()
            }
        }

    return {"read": measure}

"""Time the CPU kernels for INT8 layers, to choose between them.

Each kernel multiplies random activations with a few outlier columns by the same INT8 rows. Each call finds
its weights cold, as in a model: matrices that together are larger than the caches take turns. `error` is
relative to float32 with the unquantized weights. `same bits` says whether a row of the result is the same
alone and among others, which batching and replay need.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from p2pinfer.model.engine.native import library as native_library
from p2pinfer.model.engine.native.matrix import NativeInt8Matrix
from p2pinfer.model.engine.reference.bitsandbytes_linear import bitsandbytes_linear
from p2pinfer.model.engine.reference.int8_linear import Float16Linear, Int8Linear
from p2pinfer.model.quantization import Int8Rows, RowScales, dequantize_rows, quantize_rows

Product = Callable[[torch.Tensor], torch.Tensor]
Build = Callable[[Int8Rows, RowScales], Product]

SHAPES = ((576, 1536), (1536, 576), (2048, 5632))
BATCHES = (1, 4, 16, 128)
COLD_BYTES = 64 << 20
REPEATS = 5


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    kernel: str
    columns: int
    rows: int
    microseconds: dict[int, float]
    error: float
    same_bits: bool


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print a table, or JSON."""
    parser = argparse.ArgumentParser(prog="scripts/bench_kernels", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    with torch.inference_mode():
        rows = [
            measure(name, build, columns, outputs)
            for columns, outputs in SHAPES
            for name, build in kernels(arguments.threads).items()
        ]
    if arguments.json:
        print(json.dumps([as_dict(row) for row in rows], indent=1))
    else:
        print_table(rows)
    return 0


def kernels(threads: int) -> dict[str, Build]:
    """The function of each kernel, made from INT8 rows and their scales."""
    built: dict[str, Build] = {
        "fp32": lambda rows, scales: _dense(rows, scales, torch.float32),
        "bf16": lambda rows, scales: _dense(rows, scales, torch.bfloat16),
        "int8pack (reference engine)": _int8pack,
        "bitsandbytes": _bitsandbytes,
    }
    if native_library.unavailable_reason() is None:
        built["native"] = lambda rows, scales: _native(rows, scales, threads)
    return built


def measure(name: str, build: Build, columns: int, outputs: int) -> Row:
    """Time one kernel at one shape, and compare its results."""
    random = np.random.default_rng(columns)
    weight = random.standard_normal((outputs, columns), np.float32) / np.float32(columns) ** 0.5
    rows, scales = quantize_rows(weight)
    copies = [build(rows.copy(), scales) for _ in range(1 + COLD_BYTES // weight.size)]
    x = activations(max(BATCHES), columns)
    exact = x.numpy() @ weight.T
    found = copies[0](x)
    return Row(
        kernel=name,
        columns=columns,
        rows=outputs,
        microseconds={batch: _microseconds(copies, x[:batch]) for batch in BATCHES},
        error=float(np.linalg.norm(found.float().numpy() - exact) / np.linalg.norm(exact)),
        same_bits=all(torch.equal(copies[0](x[5 : 5 + n]), found[5 : 5 + n]) for n in (1, 2, 3, 7, 33)),
    )


def activations(count: int, columns: int) -> torch.Tensor:
    """Normal numbers, and a few columns twenty times as large, as real models have them."""
    values = np.random.default_rng(1).standard_normal((count, columns), np.float32)
    values[:, ::97] *= 20
    return torch.from_numpy(values)


def print_table(rows: Sequence[Row]) -> None:
    """Markdown."""
    print(f"microseconds by batch, median of {REPEATS} passes, {torch.get_num_threads()} threads\n")
    print("| shape | kernel | " + " | ".join(map(str, BATCHES)) + " | error | same bits |")
    print("|---|---|" + "---|" * (len(BATCHES) + 2))
    for row in rows:
        times = " | ".join(f"{row.microseconds[batch]:.0f}" for batch in BATCHES)
        bits = "yes" if row.same_bits else "no"
        print(f"| {row.columns} -> {row.rows} | {row.kernel} | {times} | {row.error:.1e} | {bits} |")


def as_dict(row: Row) -> dict[str, object]:
    """The row as JSON."""
    return {name: getattr(row, name) for name in Row.__slots__}


def _microseconds(copies: Sequence[Product], x: torch.Tensor) -> float:
    passes = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        for product in copies:
            product(x)
        passes.append((time.perf_counter() - began) / len(copies) * 1e6)
    return statistics.median(passes)


def _dense(rows: Int8Rows, scales: RowScales, dtype: torch.dtype) -> Product:
    weight = torch.from_numpy(dequantize_rows(rows, scales)).to(dtype)
    return lambda x: torch.nn.functional.linear(x.to(dtype), weight)


def _int8pack(rows: Int8Rows, scales: RowScales) -> Product:
    return Int8Linear(torch.from_numpy(rows), torch.from_numpy(scales), None)


def _bitsandbytes(rows: Int8Rows, scales: RowScales) -> Product:
    linear = bitsandbytes_linear(torch.from_numpy(rows), torch.from_numpy(scales), None, torch.device("cpu"))
    return Float16Linear(linear)


def _native(rows: Int8Rows, scales: RowScales, threads: int) -> Product:
    matrix = NativeInt8Matrix(rows, scales, threads=threads)
    return lambda x: torch.from_numpy(matrix.multiply(x.numpy()))


if __name__ == "__main__":
    sys.exit(main())

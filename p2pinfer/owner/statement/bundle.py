"""A bundle: receipts as a text file, which an owner submits and a sponsor reads.

    p2pinfer receipts 1
    {"receipt": "...", "client_signature": "...", "server_signature": "..."}
    ...

Each line is one JSON object. Its values are the signed bytes, in base64. A reader ignores other keys and
empty lines. A bundle may come from anybody: a reader believes nothing before it is checked, and holds one
line at a time. What is too much for one bundle becomes several: each is valid on its own, and no session is
in two of them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO

from p2pinfer.errors import UsageError
from p2pinfer.outside.plain_json import read_json
from p2pinfer.wire.receipt_pb2 import SignedReceipt

HEADER = "p2pinfer receipts 1"

MAX_LINE_BYTES = 16_384
MAX_LINES = 1_000_000
MAX_BYTES = 2**30

PART_BYTES = 8_000_000
PART_LINES = 50_000
"""What is written into one bundle: a health page takes as much at a time, and `redeem` more."""

_FIELDS = ("receipt", "client_signature", "server_signature")


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleLine:
    """One line: a receipt that isn't checked yet, or why the line isn't a receipt."""

    number: int  # of the line; the header is line 1
    signed: SignedReceipt | None
    problem: str = ""


def write_bundle(file: TextIO, receipts: Iterable[SignedReceipt]) -> None:
    """Write a header and all receipts."""
    file.write(f"{HEADER}\n")
    for signed in receipts:
        file.write(_line(signed))


def bundle_lines(receipts: Iterable[SignedReceipt]) -> Iterator[tuple[int, str]]:
    """The lines of as many bundles as the receipts need, each with the number of its bundle: 1, 2, ..."""
    number, lines, total_bytes = 1, 0, len(HEADER) + 1
    yield number, f"{HEADER}\n"
    for signed in receipts:
        line = _line(signed)
        if lines == PART_LINES or total_bytes + len(line) > PART_BYTES:
            number, lines, total_bytes = number + 1, 0, len(HEADER) + 1
            yield number, f"{HEADER}\n"
        lines, total_bytes = lines + 1, total_bytes + len(line)
        yield number, line


def _line(signed: SignedReceipt) -> str:
    values = (signed.receipt, signed.client_signature, signed.server_signature)
    texts = (base64.b64encode(value).decode() for value in values)
    return json.dumps(dict(zip(_FIELDS, texts, strict=True))) + "\n"


def read_bundle(file: BinaryIO, name: str) -> Generator[BundleLine, None, None]:
    """The lines after the header.

    Raises UsageError, naming the file, if it is no bundle, too large, or can't be read to its end.
    """
    total_bytes = 0
    for number in range(1, MAX_LINES + 2):
        line = _next_part(file, name)
        total_bytes += len(line)
        is_too_long = len(line) > MAX_LINE_BYTES
        while len(line) > MAX_LINE_BYTES and not line.endswith(b"\n") and total_bytes <= MAX_BYTES:
            line = _next_part(file, name)
            total_bytes += len(line)
        if total_bytes > MAX_BYTES:
            raise UsageError(f"{name} has more than {MAX_BYTES >> 20} MiB: split it into several bundles")
        if number == 1:
            if is_too_long or line.strip() != HEADER.encode():
                raise UsageError(f"{name} is not a bundle of receipts: its first line has to be {HEADER!r}")
        elif is_too_long:
            problem = f"it has more than {MAX_LINE_BYTES:,} bytes"
            yield BundleLine(number=number, signed=None, problem=problem)
        elif not line:
            return
        elif line.strip():
            yield _parse(number, line)
    if _next_part(file, name):
        raise UsageError(f"{name} has more than {MAX_LINES:,} lines: split it into several bundles")


def _next_part(file: BinaryIO, name: str) -> bytes:
    try:
        return file.readline(MAX_LINE_BYTES + 1)
    except OSError as error:  # a disk that fails, a share that is gone
        raise UsageError(f"{name} can't be read to its end ({error.strerror})") from error


def open_bundle(path: Path) -> BinaryIO:
    """Open a bundle for reading. Raises UsageError, naming the file."""
    try:
        return path.expanduser().open("rb")
    except OSError as error:
        raise UsageError(f"bundle {path} can't be read ({error.strerror})") from error


def _parse(number: int, line: bytes) -> BundleLine:
    try:
        values = read_json(line)
        if not isinstance(values, dict):
            raise ValueError("not an object")
        data = [_decoded(values.get(name)) for name in _FIELDS]
    except ValueError:  # not UTF-8, not JSON, not base64, or thousands of nested brackets
        problem = f"it is not an object with {', '.join(_FIELDS)} in base64"
        return BundleLine(number=number, signed=None, problem=problem)
    receipt, by_client, by_server = data
    signed = SignedReceipt(receipt=receipt, client_signature=by_client, server_signature=by_server)
    return BundleLine(number=number, signed=signed)


def _decoded(text: object) -> bytes:
    if not isinstance(text, str):
        raise ValueError("not a string")
    return base64.b64decode(text, validate=True)

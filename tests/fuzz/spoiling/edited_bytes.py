"""Random edits of any bytes: changed, taken out, put in, repeated, exchanged, cut off, lengths grown."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence

ODD = (
    *(bytes([byte]) for byte in (0, 1, 0x1F, 0x22, 0x2F, 0x5B, 0x5C, 0x7B, 0x7F, 0x80, 0xC0, 0xFE, 0xFF)),
    *(struct.pack(form, number) for form in ("<H", ">H") for number in (0, 1, 0x7FFF, 0x8000, 0xFFFF)),
    *(struct.pack(form, number) for form in ("<I", ">I") for number in (0, 2**20, 2**31 - 1, 2**32 - 1)),
    *(struct.pack(form, number) for form in ("<Q", ">Q") for number in (0, 2**32, 2**40, 2**63, 2**64 - 1)),
    *(struct.pack("<d", number) for number in (float("nan"), float("inf"), -1.0, 1e308)),
    b"\xff" * 9 + b"\x01",  # 2^64 - 1 as a varint
    "\u202e".encode(), "\u0663".encode(), b"\0", b"\xed\xa0\x80", b"\\ud800", b"\xf0\x9f\x98",
    b"9" * 5000, b"1e999", b"-1", b"NaN", b"..", b"../", b"%n", b"\r\n", b"\n\n", b"[" * 2000, b'{"":' * 500,
    b"(" * 300, b"{{" * 300,
)  # fmt: skip
"""Values at which readers stumble."""

_Edit = Callable[[bytes, random.Random, Sequence[bytes]], bytes]


def edited(sample: bytes, chance: random.Random, samples: Sequence[bytes]) -> bytes:
    """The sample after one to six edits; now and then bytes of no kind."""
    if chance.random() < 0.02:
        return chance.randbytes(chance.randrange(2 * len(sample) + 16))
    for _ in range(min(1 + int(chance.expovariate(0.8)), 6)):
        sample = chance.choice(_EDITS)(sample, chance, samples)
    return sample


def _flip(data: bytes, chance: random.Random, _: Sequence[bytes]) -> bytes:
    if not data:
        return data
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]


def _overwrite(data: bytes, chance: random.Random, _: Sequence[bytes]) -> bytes:
    at, odd = _at(data, chance), chance.choice(ODD)
    return data[:at] + odd + data[at + len(odd) :]


def _insert(data: bytes, chance: random.Random, _: Sequence[bytes]) -> bytes:
    at = _at(data, chance)
    return data[:at] + chance.choice(ODD) + data[at:]


def _grow_length(data: bytes, chance: random.Random, _: Sequence[bytes]) -> bytes:
    """A number of 1, 2, 4 or 8 bytes becomes a little or much larger."""
    size = chance.choice((1, 2, 4, 8))
    at = _at(data, chance)
    order = chance.choice(("little", "big"))
    number = int.from_bytes(data[at : at + size], order) + chance.choice((1, -1, 7, 255, 1 << 16, 1 << 31))
    return data[:at] + (number % (1 << 8 * size)).to_bytes(size, order) + data[at + size :]


def _take_out(data: bytes, chance: random.Random, _: Sequence[bytes]) -> bytes:
    start, end = _piece(data, chance)
    return data[:start] + data[end:]


def _repeat(data: bytes, chance: random.Random, _: Sequence[bytes]) -> bytes:
    start, end = _piece(data, chance)
    return data[:end] + data[start:end] * chance.choice((1, 1, 2, 30)) + data[end:]


def _exchange(data: bytes, chance: random.Random, _: Sequence[bytes]) -> bytes:
    a, b, c, d = sorted(_at(data, chance) for _ in range(4))
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def _splice(data: bytes, chance: random.Random, samples: Sequence[bytes]) -> bytes:
    """The beginning of this one and the end of another one."""
    other = chance.choice(samples)
    return data[: _at(data, chance)] + other[_at(other, chance) :]


def _cut_off(data: bytes, chance: random.Random, _: Sequence[bytes]) -> bytes:
    return data[: _at(data, chance)]


_EDITS: tuple[_Edit, ...] = (
    _flip, _flip, _overwrite, _overwrite, _insert, _insert, _grow_length, _take_out, _repeat, _exchange,
    _splice, _cut_off,
)  # fmt: skip


def _at(data: bytes, chance: random.Random) -> int:
    return chance.randrange(len(data) + 1)


def _piece(data: bytes, chance: random.Random) -> tuple[int, int]:
    start = _at(data, chance)
    return start, min(len(data), start + chance.choice((1, 2, 4, 8, 40, 400)))

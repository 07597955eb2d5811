"""Random edits of a message of Protocol Buffers that leave it one, whatever its fields mean."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence

from tests.fuzz.spoiling.edited_bytes import edited

_Field = tuple[int, int, bytes]  # its number, its wire type, its value without a length
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
_NUMBERS = (0, 1, 2, 127, 128, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**62, 2**63, 2**64 - 1)
_DOUBLES = (0.0, -0.0, -1.0, 1e-308, 1e308, float("inf"), -float("inf"), float("nan"), 2.0**40, 1.8e9)
_TEXTS = (
    b"", b" ", b"\0", b"\xff", b"\n", b"\x1b[2J", "\u202e".encode(), b"x" * 3000, b"ab" * 32, b"127.0.0.1:1",
    b"\xed\xa0\x80", b"0", b"9" * 400,
)  # fmt: skip


def edited_fields(sample: bytes, chance: random.Random, samples: Sequence[bytes]) -> bytes:
    """The sample after one to four edits of its fields, at any depth."""
    fields = fields_of(sample)
    if not fields:
        return edited(sample, chance, samples)
    for _ in range(min(1 + int(chance.expovariate(1.0)), 4)):
        _edit(fields, chance, samples)
    return written(fields)


def _edit(fields: list[_Field], chance: random.Random, samples: Sequence[bytes]) -> None:
    if not fields:
        return
    at = chance.randrange(len(fields))
    number, kind, value = fields[at]
    match chance.randrange(9):
        case 0:
            del fields[at]
        case 1:
            fields[at:at] = [fields[at]] * chance.choice((1, 1, 8, 300))
        case 2:
            other = chance.randrange(len(fields))
            fields[at], fields[other] = fields[other], fields[at]
        case 3:
            others = fields_of(chance.choice(samples)) or fields
            fields.insert(at, chance.choice(others))
        case 4:
            fields[at] = (chance.choice((number + 1, max(1, number - 1), 99, 536_870_911)), kind, value)
        case _:
            fields[at] = (number, kind, _changed(kind, value, chance, samples))


def _changed(kind: int, value: bytes, chance: random.Random, samples: Sequence[bytes]) -> bytes:
    if kind == _VARINT:
        return varint(chance.choice(_NUMBERS))
    if kind == _EIGHT:
        return struct.pack("<d", chance.choice(_DOUBLES))
    if kind == _FOUR:
        return struct.pack("<f", chance.choice((0.0, -1.0, float("inf"), float("nan"))))
    if chance.random() < 0.3:
        return chance.choice(_TEXTS)
    if chance.random() < 0.5 and (inner := fields_of(value)):
        _edit(inner, chance, samples)
        return written(inner)
    return edited(value, chance, [value])


def fields_of(data: bytes) -> list[_Field]:
    """The fields of a message; none if the bytes are no message."""
    found, at = [], 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        number, kind = tag >> 3, tag & 7
        start = at
        if kind == _VARINT:
            _, at = _read_varint(data, at)
        elif kind == _BYTES:
            length, start = _read_varint(data, at)
            at = start + length
        elif kind in (_EIGHT, _FOUR):
            at += 8 if kind == _EIGHT else 4
        else:
            return []
        if at > len(data) or not number:
            return []
        found.append((number, kind, data[start:at]))
    return found


def written(fields: Sequence[_Field]) -> bytes:
    """The bytes of a message."""
    parts = []
    for number, kind, value in fields:
        parts += [varint(number << 3 | kind), varint(len(value)) if kind == _BYTES else b"", value]
    return b"".join(parts)


def varint(number: int) -> bytes:
    """A number of any length, seven bits in each byte."""
    parts = bytearray()
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes(parts) + bytes([number])


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """A number, and where it ends; beyond the end of the data if it isn't complete."""
    number = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        number |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return number, at
        shift += 7
    return 0, len(data) + 1

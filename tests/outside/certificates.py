"""Certificates that records accept, for tests that need many of them or always the same ones."""

from __future__ import annotations

import hashlib
from functools import cache

from p2pinfer.wire.certificates import new_certificate

VERSION_3 = bytes.fromhex("a003020102")
"""The field before the serial number."""
_DER_BYTES = 343
"""Signatures have 70 to 72 bytes; a simulation that is repeated sends messages of the same lengths."""


def numbered_certificate(name: str) -> bytes:
    """A certificate in DER whose serial number is made of a name. Nobody has its key."""
    der = _template()
    first, length = der.index(VERSION_3) + len(VERSION_3) + 2, der[der.index(VERSION_3) + len(VERSION_3) + 1]
    number = b"\1" + hashlib.sha256(name.encode()).digest()[: length - 1]
    return der[:first] + number + der[first + length :]


@cache
def _template() -> bytes:
    while len(der := new_certificate().der) != _DER_BYTES:
        pass
    return der

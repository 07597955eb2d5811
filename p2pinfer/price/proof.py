"""The proof that somebody has worked for a key, and its check.

A proof is a nonce of 8 bytes such that scrypt of the public key, with the nonce as its salt, begins with
PRICE_BITS zero bits (hashcash, Back 2002; scrypt, RFC 7914). One try takes 512 KiB of memory and 1 ms of a
core, and so does a check; to find a proof of 12 bits takes 4,096 tries on average, some 4 s. Memory is what
makes a try dear on machines that were built for hashing.

Nobody else can use a proof, since the key is a part of it. It says nothing about who paid, and never expires.
"""

from __future__ import annotations

import hashlib
import os

from p2pinfer.errors import UsageError
from p2pinfer.price.memory import Memory

PROOF_BYTES = 8
USUAL_BITS = 12
"""The price where strangers meet. Who has another price is in another swarm."""
MOST_BITS = 32
USUAL_TRIES = 1 << USUAL_BITS
"""That it takes to find a proof, on average."""
VARIABLE = "P2PINFER_PRICE_BITS"
"""Changes the price for a process and its children: for tests and laboratories. 0: identities are free."""

_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 512, 8, 1
TRY_BYTES = 128 * _SCRYPT_N * _SCRYPT_R
MOST_REMEMBERED = 16_384
"""Proofs whose check needn't be repeated: the same record comes from several nodes, and again every 15 s. As
many wrong ones are remembered beside them, so that whoever makes these up drives out none that was paid."""


def price_of(variable: str | None) -> int:
    """The price in bits that the environment's variable names; None: it isn't set.

    Raises UsageError for anything but a number of bits.
    """
    if variable is None:
        return USUAL_BITS
    if not (variable.isascii() and variable.isdecimal() and len(variable) < 4 and int(variable) <= MOST_BITS):
        raise UsageError(f"{VARIABLE} is a number of bits from 0 to {MOST_BITS}: change it, or unset it")
    return int(variable)


PRICE_BITS = price_of(os.environ.get(VARIABLE))

_right: Memory[tuple[bytes, bytes, int]] = Memory(MOST_REMEMBERED)  # key, proof, price
_wrong: Memory[tuple[bytes, bytes, int]] = Memory(MOST_REMEMBERED)


def unpaid() -> bytes:
    """The proof that a new identity begins with: none, or any where identities are free."""
    return b"" if PRICE_BITS else bytes(PROOF_BYTES)


def is_paid(public_key: bytes, proof: bytes) -> bool:
    """True if `proof` shows that the price was paid for `public_key`. 1 ms for what isn't remembered."""
    known = remembered(public_key, proof)
    if known is not None:
        return known
    paid = zero_bits(public_key, proof) >= PRICE_BITS
    (_right if paid else _wrong).add((public_key, proof, PRICE_BITS))
    return paid


def remembered(public_key: bytes, proof: bytes) -> bool | None:
    """What `is_paid` would say, if it needn't compute anything for that; otherwise None."""
    if len(proof) != PROOF_BYTES:
        return False
    if PRICE_BITS == 0:
        return True
    claim = (public_key, proof, PRICE_BITS)
    return True if claim in _right else False if claim in _wrong else None


def zero_bits(public_key: bytes, proof: bytes) -> int:
    """The number of zero bits that the hash of a key and a proof begins with, up to 64."""
    digest = hashlib.scrypt(public_key, salt=proof, n=_SCRYPT_N, r=_SCRYPT_R, p=_SCRYPT_P, dklen=8)
    return 64 - int.from_bytes(digest, "big").bit_length()

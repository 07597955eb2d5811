"""The randomness of draws, keyed: what is drawn for a token depends on nothing but seed, position and token.

A draw takes the token with the largest sum of score and Gumbel noise, which has the softmax distribution of
the scores (Gumbel-max: Yellott 1977). The noise of a token is the same whichever others it competes with, so
the same request gives the same text whether or not anything was speculated, retried or moved.

SHA-256 turns (seed, position) into a key of 64 bits. Token i gets output i of the generator SplitMix64
(Steele, Lea, Flood 2014) started at the key: whole numbers, the same on every machine and in every version
of numpy. Only the logarithms may differ between machines, in the last bit of a float64.
"""

from __future__ import annotations

import hashlib
import struct

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.intp]

_STRIDE = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_DOMAIN = b"p2pinfer draw 1"


def draw_key(seed: int, position: int) -> int:
    """The key of the draw at a position of the answer, 0 for its first token. 64 bits."""
    text = _DOMAIN + struct.pack("<qQ", seed - (1 << 64) if seed >= 1 << 63 else seed, position)
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "little")


BLOCK = 16384
"""Tokens at a time: the steps for a block stay in the processor's cache, which is several times as fast."""


def gumbel(key: int, ids: Ids) -> NDArray[np.float64]:
    """The noise of these tokens, [len(ids)]; best of a BLOCK of them."""
    bits = ids.astype(np.uint64)
    bits += np.uint64(1)
    bits *= _STRIDE
    bits += np.uint64(key)
    bits ^= bits >> np.uint64(30)
    bits *= _FIRST
    bits ^= bits >> np.uint64(27)
    bits *= _SECOND
    bits ^= bits >> np.uint64(31)
    bits >>= np.uint64(12)
    uniform = (bits.astype(np.float64) + 0.5) * 2.0**-52  # from 2**-53 to 1 - 2**-53, both exact
    noise: NDArray[np.float64] = -np.log(-np.log(uniform))
    return noise

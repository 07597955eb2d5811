"""Who stays where there isn't room for all: those of the best rank. A rank is drawn, not chosen.

It is the same in all cells of a tree, so the best of a cell are also among the best of the smaller cells in
it. It changes every hour, so nobody is out, or in, for long; and not for all at the same moment. The proof of
an identity's work is in it: another rank costs another proof.
"""

from __future__ import annotations

import hashlib
import math
from functools import lru_cache

EPOCH_SECONDS = 3600.0
_MOST_CACHED = 32_768  # a flood at a full key would else cost hashes for each record there, again and again


def rank(peer_id: str, proof: bytes, tree: str, epoch: int) -> float:
    """In [0, 1); the lower, the better."""
    return _share(b"rank", peer_id.encode(), proof, tree.encode(), str(epoch).encode())


def epoch_at(peer_id: str, unix_seconds: float) -> int:
    """The number of a peer's hour. Peers' hours begin at different times."""
    return math.floor(unix_seconds / EPOCH_SECONDS + _share(b"epoch", peer_id.encode()))


@lru_cache(maxsize=_MOST_CACHED)
def _share(*words: bytes) -> float:
    """A number in [0, 1) that is drawn by the words. Each is hashed first, so none runs into the next."""
    digest = hashlib.sha256(b"".join(hashlib.sha256(word).digest() for word in words)).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53

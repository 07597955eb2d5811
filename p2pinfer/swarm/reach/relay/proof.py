"""The proof that a stream through a relay was asked for by the peer that the relay names. Pure.

A relay that could name anybody could end the tunnels that it once carried, and fill a server in the names of
others. So the asker signs, with the key that is in its peer id, for one relay, one target and one stream.
"""

from __future__ import annotations

import secrets
import struct
from collections import OrderedDict
from collections.abc import Callable

from p2pinfer.errors import ProtocolError
from p2pinfer.identity import peer_id_to_bytes, public_key_of, verify
from p2pinfer.types import PeerId

VALID_SECONDS = 60.0
"""Clocks of members differ by 20 s at most, or they couldn't join."""
_MOST_KNOWN = 4096
_PREFIX = b"p2pinfer relayed stream 1\0"
_STAMP = struct.Struct(">d16s")  # Unix seconds, and what makes each proof another
_SIGNATURE_BYTES = 64


def prove(sign: Callable[[bytes], bytes], relay: PeerId, target: PeerId, now: float) -> bytes:
    """The proof of the peer that signs: that it asks `relay` for one stream to `target`. 88 bytes.

    `now` is in Unix seconds.
    """
    stamp = _STAMP.pack(now, secrets.token_bytes(16))
    return stamp + sign(_signed(stamp, relay, target))


class Proofs:
    """Those that came to one target. Each is good once."""

    def __init__(self, target: PeerId) -> None:
        self._target = target
        self._known: OrderedDict[bytes, float] = OrderedDict()  # stamps, and when they were made

    def check(self, proof: bytes, asker: PeerId, relay: PeerId, now: float) -> None:
        """Raise ProtocolError unless `asker` has made this proof, for `relay`, a moment ago."""
        stamp, signature = proof[: _STAMP.size], proof[_STAMP.size :]
        if len(stamp) != _STAMP.size or len(signature) != _SIGNATURE_BYTES:
            raise ProtocolError("no proof that the peer has asked for the stream")
        made_at, _ = _STAMP.unpack(stamp)
        if not abs(now - made_at) <= VALID_SECONDS:  # also if it is no number
            raise ProtocolError("a proof of another time: are both clocks right?")
        if not verify(public_key_of(asker), _signed(stamp, relay, self._target), signature):
            raise ProtocolError("a proof that the peer hasn't made, or for another relay")
        if stamp in self._known:
            raise ProtocolError("a proof that was used before")
        while self._known and (
            len(self._known) >= _MOST_KNOWN or next(iter(self._known.values())) < now - 2 * VALID_SECONDS
        ):
            self._known.popitem(last=False)
        self._known[stamp] = made_at


def _signed(stamp: bytes, relay: PeerId, target: PeerId) -> bytes:
    return _PREFIX + stamp + peer_id_to_bytes(relay) + peer_id_to_bytes(target)

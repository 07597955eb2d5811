"""A node's place in the key space, which has to be paid for, and how nodes introduce themselves.

The place is a hash of the peer id and of the proof that the peer has paid (price/proof.py). So whoever wants
to stand beside a certain key has to pay for every place that it tries.

An introduction is 10 bytes: the version of the protocol between nodes, the price in bits, the proof. In
version 1 it was the place itself, 20 bytes, and nobody paid. Nodes of other versions, or of another price,
can't be neighbours.
"""

from __future__ import annotations

import hashlib

from hivemind.dht.routing import DHTID
from hivemind.p2p import PeerID

from p2pinfer.errors import ProtocolError
from p2pinfer.identity import PEER_ID_BYTES, PUBLIC_KEY_BYTES
from p2pinfer.price import proof as price
from p2pinfer.price.proof import PROOF_BYTES, is_paid

NODE_VERSION = 2
INTRODUCTION_BYTES = 2 + PROOF_BYTES
_FIRST_INTRODUCTION_BYTES = DHTID.HASH_NBYTES


class Place(DHTID):  # type: ignore[misc]  # hivemind is untyped
    """A place in the key space, and the proof that it follows from: others want to see it."""

    proof: bytes


def place_of(peer_id: PeerID, proof: bytes) -> Place:
    """Where a peer stands with a proof. Whether that is one isn't checked here."""
    digest = hashlib.sha256(b"p2pinfer node 2\0" + peer_id.to_bytes() + proof).digest()
    place = Place(int.from_bytes(digest[: DHTID.HASH_NBYTES], "big"))
    place.proof = proof
    return place


def paid_place(peer_id: PeerID, proof: bytes) -> Place:
    """Where a peer stands. Raises ProtocolError if it hasn't paid, or isn't an Ed25519 peer."""
    raw = peer_id.to_bytes()
    if len(raw) != PEER_ID_BYTES or not is_paid(raw[-PUBLIC_KEY_BYTES:], proof):
        raise ProtocolError(f"{peer_id.to_base58()} hasn't paid for its place among the nodes")
    return place_of(peer_id, proof)


def introduction(proof: bytes) -> bytes:
    """What a node says of itself in each message. A client says nothing, and isn't remembered."""
    return bytes((NODE_VERSION, price.PRICE_BITS)) + proof


def proof_in(words: bytes) -> bytes | None:
    """The proof that has to be checked of an introduction; None for one that is refused without."""
    if len(words) == INTRODUCTION_BYTES and words[:2] == bytes((NODE_VERSION, price.PRICE_BITS)):
        return words[2:]
    return None


def refuse_first_version(peer_id: PeerID, words: bytes) -> None:
    """Raise ProtocolError if `words` are those of version 1, which doesn't look at others' versions."""
    if len(words) == _FIRST_INTRODUCTION_BYTES:
        raise ProtocolError(_other_version(peer_id, 1))


def introduced(peer_id: PeerID, words: bytes) -> Place:
    """The place of the node that introduces itself so.

    Raises ProtocolError, naming both versions or both prices, for one that can't be a neighbour.
    """
    refuse_first_version(peer_id, words)
    if words[:1] not in (b"", bytes((NODE_VERSION,))):
        raise ProtocolError(_other_version(peer_id, words[0]))
    if len(words) != INTRODUCTION_BYTES:
        raise ProtocolError(f"{peer_id.to_base58()} introduces itself with {len(words)} bytes")
    if words[1] != price.PRICE_BITS:
        raise ProtocolError(
            f"{peer_id.to_base58()} is in a swarm where an identity costs {words[1]} bits, and here it costs "
            f"{price.PRICE_BITS}: set {price.VARIABLE} to the same at both, or nowhere"
        )
    return paid_place(peer_id, words[2:])


def _other_version(peer_id: PeerID, version: int) -> str:
    older = "there" if version < NODE_VERSION else "here"
    return (
        f"{peer_id.to_base58()} speaks version {version} of the protocol between nodes, and this "
        f"program version {NODE_VERSION}: update p2pinfer {older}"
    )

"""Where a node stands, and what it says of itself: pure."""

from __future__ import annotations

import pytest
from hivemind.p2p import PeerID

from p2pinfer.errors import ProtocolError
from p2pinfer.identity import Identity, peer_id_to_bytes
from p2pinfer.price import proof as price
from p2pinfer.price.paying import find_proof
from p2pinfer.price.proof import PROOF_BYTES
from p2pinfer.swarm.kademlia.place import introduced, introduction, paid_place, place_of

IDENTITY = Identity.ephemeral()
PEER = PeerID(peer_id_to_bytes(IDENTITY.peer_id))
PROOF = b"nonce123"


def test_an_introduction_gives_the_place_and_its_proof() -> None:
    place = introduced(PEER, introduction(PROOF))

    assert place == place_of(PEER, PROOF) == paid_place(PEER, PROOF)
    assert place.proof == PROOF


def test_another_proof_or_another_peer_is_another_place() -> None:
    other = PeerID(peer_id_to_bytes(Identity.ephemeral().peer_id))

    assert len({place_of(PEER, PROOF), place_of(PEER, bytes(PROOF_BYTES)), place_of(other, PROOF)}) == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (bytes(20), "speaks version 1 .* this program version 2: update p2pinfer there"),
        (b"\x03\x00" + PROOF, "speaks version 3 .* this program version 2: update p2pinfer here"),
        (b"\x03", "speaks version 3"),
        (b"\x02\x0b" + PROOF, "an identity costs 11 bits, and here it costs 0: set P2PINFER_PRICE_BITS"),
        (b"\x02", "with 1 bytes"),
        (b"\x02\x00" + PROOF + b"x", "with 11 bytes"),
        (b"", "with 0 bytes"),
    ],
    ids=["version-1", "version-3", "version-3-short", "price", "short", "long", "empty"],
)
def test_a_node_that_cant_be_a_neighbour_is_told_why(words: bytes, said: str) -> None:
    with pytest.raises(ProtocolError, match=f"{IDENTITY.peer_id} .*{said}"):
        introduced(PEER, words)


async def test_a_place_has_to_be_paid(monkeypatch: pytest.MonkeyPatch) -> None:
    paid = await find_proof(IDENTITY.public_key, 4)
    monkeypatch.setattr(price, "PRICE_BITS", 4)
    assert introduced(PEER, introduction(paid)).proof == paid

    monkeypatch.setattr(price, "PRICE_BITS", 30)
    for refused in (lambda: introduced(PEER, introduction(paid)), lambda: paid_place(PEER, paid)):
        with pytest.raises(ProtocolError, match="hasn't paid for its place"):
            refused()


@pytest.mark.parametrize("raw", [b"", b"x" * 34, bytes(4096)], ids=len)
def test_a_peer_of_another_kind_of_key_has_no_place(raw: bytes) -> None:
    with pytest.raises(ProtocolError, match="hasn't paid"):
        paid_place(PeerID(raw), PROOF)

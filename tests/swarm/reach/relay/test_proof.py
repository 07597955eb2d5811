"""What a relay says of who asks counts only with the asker's own signature."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.errors import ProtocolError
from p2pinfer.identity import Identity
from p2pinfer.swarm.reach.relay import proof as module
from p2pinfer.swarm.reach.relay.proof import VALID_SECONDS, Proofs, prove

ASKER, OTHER = Identity.ephemeral(), Identity.ephemeral()
RELAY, TARGET = OTHER.peer_id, Identity.ephemeral().peer_id
NOW = 1_800_000_000.0


def proof_of(now: float = NOW) -> bytes:
    return prove(ASKER.sign, RELAY, TARGET, now)


def check(proof: bytes, now: float = NOW) -> None:
    Proofs(TARGET).check(proof, ASKER.peer_id, RELAY, now)


def test_a_proof_is_good_for_its_relay_its_target_and_its_asker() -> None:
    proof = proof_of()
    assert len(proof) == 88
    check(proof)
    for asker, relay, target in (
        (OTHER.peer_id, RELAY, TARGET),
        (ASKER.peer_id, TARGET, TARGET),
        (ASKER.peer_id, RELAY, RELAY),
    ):
        with pytest.raises(ProtocolError):
            Proofs(target).check(proof, asker, relay, NOW)


def test_a_proof_is_good_once_also_at_the_edge_of_its_time() -> None:
    proofs, proof = Proofs(TARGET), proof_of(NOW + VALID_SECONDS)
    proofs.check(proof, ASKER.peer_id, RELAY, NOW)
    for now in (NOW, NOW + VALID_SECONDS, NOW + 2 * VALID_SECONDS):
        with pytest.raises(ProtocolError, match="used before"):
            proofs.check(proof, ASKER.peer_id, RELAY, now)


@pytest.mark.parametrize("made_at", [NOW - 61, NOW + 61, math.nan, math.inf, -math.inf])
def test_a_proof_of_another_time_is_none(made_at: float) -> None:
    with pytest.raises(ProtocolError, match="another time"):
        check(proof_of(made_at))


def test_what_was_used_is_forgotten_in_time_and_never_too_much_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_MOST_KNOWN", 3)
    proofs = Proofs(TARGET)
    for _ in range(5):
        proofs.check(proof_of(), ASKER.peer_id, RELAY, NOW)
    assert len(proofs._known) == 3
    later = NOW + 3 * VALID_SECONDS
    proofs.check(proof_of(later), ASKER.peer_id, RELAY, later)
    assert len(proofs._known) == 1


@given(st.binary(max_size=200) | st.integers(0, 87).map(lambda at: proof_of()[:at]))
def test_any_other_bytes_are_no_proof(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        check(data)


@given(st.integers(0, 8 * 88 - 1))
def test_a_proof_with_one_bit_changed_is_none(bit: int) -> None:
    changed = bytearray(proof_of())
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ProtocolError):
        check(bytes(changed))

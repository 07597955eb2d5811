"""Proofs are checked beside the event loop; who sends wrong ones is refused, and delays nobody else."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from types import SimpleNamespace

import pytest
from hivemind.dht.routing import DHTID
from hivemind.p2p import PeerID
from hivemind.proto import dht_pb2

from p2pinfer.errors import ProtocolError
from p2pinfer.identity import SIGNATURE_BYTES, Identity, peer_id_to_bytes
from p2pinfer.price import proof as price
from p2pinfer.price.paying import find_proof
from p2pinfer.price.proof import PROOF_BYTES, remembered, zero_bits
from p2pinfer.swarm.cells.keys import root_key
from p2pinfer.swarm.kademlia import checking
from p2pinfer.swarm.kademlia.checking import (
    MOST_FORGED,
    MOST_WAITING,
    MOST_WAITING_OF_ONE,
    STORED,
    WRONG,
    Checks,
)
from p2pinfer.swarm.kademlia.place import introduction
from p2pinfer.swarm.record_pb2 import RecordSet, SignedRecord
from p2pinfer.swarm.records.announcement import encode
from tests.swarm.conftest import MODEL, describe, join_here, node_of

BITS = 4


@pytest.fixture(autouse=True)
def a_small_price(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(price, "PRICE_BITS", BITS)


def peer_of(identity: Identity) -> PeerID:
    return PeerID(peer_id_to_bytes(identity.peer_id))


def a_peer() -> PeerID:
    return peer_of(Identity.ephemeral())


async def paid() -> Identity:
    identity = Identity.ephemeral()
    identity.proof = await find_proof(identity.public_key, BITS)
    return identity


def wrong_proof(public_key: bytes) -> bytes:
    proof = os.urandom(PROOF_BYTES)
    while zero_bits(public_key, proof) >= BITS:
        proof = os.urandom(PROOF_BYTES)
    return proof


def unpaid() -> Identity:
    identity = Identity.ephemeral()
    identity.proof = wrong_proof(identity.public_key)
    return identity


def record(identity: Identity) -> bytes:
    return encode(describe(identity), identity)


def answer(*records: bytes, nodes: tuple[Identity, ...] = ()) -> SimpleNamespace:
    return SimpleNamespace(
        value=RecordSet(records=records).SerializeToString(),
        nearest_node_ids=[node.proof for node in nodes],
        nearest_peer_ids=[peer_of(node).to_bytes() for node in nodes],
    )


def is_remembered(identity: Identity) -> bool | None:
    return remembered(identity.public_key, identity.proof)


class Gate:
    """Holds up the threads that compute, and counts what they compute."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened = threading.Event()
        self.threads: list[str] = []

        def held(public_key: bytes, proof: bytes) -> int:
            self.threads.append(threading.current_thread().name)
            assert self.opened.wait(10)
            return zero_bits(public_key, proof)

        monkeypatch.setattr(price, "zero_bits", held)


async def computing(gate: Gate, threads: int = 1) -> None:
    """Wait until so many threads have come to the gate."""
    deadline = time.monotonic() + 10
    while len(gate.threads) < threads:
        assert time.monotonic() < deadline
        await asyncio.sleep(0)


async def test_an_answers_proofs_are_checked_in_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of its records and of its nodes. The event loop goes on meanwhile."""
    one, other = await paid(), await paid()
    gate = Gate(monkeypatch)

    checks = asyncio.ensure_future(Checks().answer(a_peer(), [answer(record(one), nodes=(other,))]))
    await computing(gate)
    gate.opened.set()
    await checks

    assert is_remembered(one)
    assert is_remembered(other)
    assert gate.threads == [checking._THREAD] * 2


async def test_what_is_remembered_is_checked_by_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    known, checks = await paid(), Checks()
    await checks.answer(a_peer(), [answer(record(known))])
    monkeypatch.setattr(checking, "in_thread", None)

    await checks.answer(a_peer(), [answer(record(known), nodes=(known,))])
    await checks.request(a_peer(), [record(known)])
    await checks.introduction(peer_of(known), introduction(known.proof), asked=False)


async def test_nothing_after_an_unpaid_record_or_node_is_checked() -> None:
    first, later = await paid(), await paid()

    await Checks().answer(a_peer(), [answer(record(first), record(unpaid()), record(later))])
    await Checks().answer(a_peer(), [answer(nodes=(unpaid(), later))])

    assert is_remembered(first)
    assert is_remembered(later) is None


async def test_what_is_no_record_hides_nothing() -> None:
    """Else the loop would check what comes after it."""
    forged, one = SignedRecord.FromString(record(unpaid())), await paid()
    forged.signature = b""
    without_a_key = SignedRecord(version=2, proof=bytes(PROOF_BYTES)).SerializeToString()
    values = [b"\xff", b"x" * 5000, without_a_key, forged.SerializeToString(), record(one)]

    await Checks().answer(a_peer(), [answer(*values)])

    assert is_remembered(one)


async def test_a_long_answer_is_read_as_a_whole_in_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signatures take a sixth of a millisecond each."""
    signer, reading = await paid(), list[str]()

    def read(data: bytes) -> None:
        reading.append(threading.current_thread().name)

    monkeypatch.setattr(checking, "read_record", read)
    values = [record(signer)] * (checking._FEW_RECORDS + 1)
    await Checks().answer(a_peer(), [answer(*values)])

    assert reading == [checking._THREAD] * len(values)


async def test_an_answer_full_of_forged_records_isnt_read() -> None:
    """Their signers have paid: it is others who made them up."""
    forged = SignedRecord.FromString(record(await paid()))
    forged.signature = bytes(SIGNATURE_BYTES)
    value = forged.SerializeToString()

    await Checks().answer(a_peer(), [answer(*[value] * MOST_FORGED, *[record(await paid())] * 32)])
    with pytest.raises(ProtocolError, match="more than 16 wrong records"):
        await Checks().answer(a_peer(), [answer(*[value] * 1000)])


async def test_an_answer_of_no_use_is_passed_on_to_whoever_reads_it() -> None:
    broken = SimpleNamespace(value=b"\xff\xff", nearest_node_ids=[b"1", b"2"], nearest_peer_ids=[b"short"])

    await Checks().answer(a_peer(), [broken])


async def test_a_sender_of_wrong_proofs_is_soon_refused_without_a_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With ever new ones, whatever they stand in; others and what is remembered come through."""
    checks, sender, honest = Checks(), unpaid(), await paid()
    peer = peer_of(sender)
    attempts = [
        lambda: checks.request(peer, [record(unpaid())]),
        lambda: checks.answer(peer, [answer(record(unpaid()))]),
        lambda: checks.answer(peer, [answer(nodes=(unpaid(),))]),
        lambda: checks.introduction(peer, introduction(wrong_proof(sender.public_key)), asked=False),
    ]
    assert len(attempts) == WRONG.per_key
    await checks.introduction(peer_of(honest), introduction(honest.proof), asked=False)
    for attempt in attempts:
        await attempt()
    computed = Gate(monkeypatch)
    computed.opened.set()

    for attempt in attempts:
        with pytest.raises(ProtocolError, match=f"{sender.peer_id} has shown too many wrong proofs"):
            await attempt()
    assert computed.threads == []
    await checks.answer(peer, [answer(record(honest))])
    await checks.request(a_peer(), [record(await paid())])


async def test_several_records_of_a_request_have_to_be_paid_all() -> None:
    """A request is bounded, but sixteen wrong proofs in each would be sixteen times the work."""
    one = await paid()

    with pytest.raises(ProtocolError, match="isn't looked at"):
        await Checks().request(a_peer(), [record(unpaid()), record(one)])
    assert is_remembered(one) is None
    await Checks().request(a_peer(), [record(one), record(one)])


async def test_a_sender_waits_for_itself_and_a_crowd_delays_no_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first of a sender's messages is checked, the others find it remembered or are refused."""
    checks, crowd, honest = Checks(), Identity.ephemeral(), await paid()
    wrong = [record(unpaid()) for _ in range(MOST_WAITING_OF_ONE + 1)]
    answered = answer(record(honest))
    gate = Gate(monkeypatch)
    waiting = [asyncio.ensure_future(checks.request(peer_of(crowd), [one])) for one in wrong]
    await computing(gate)
    assert len(gate.threads) == 1
    assert waiting[-1].done()

    own = asyncio.ensure_future(checks.answer(a_peer(), [answered]))
    await computing(gate, 2)
    gate.opened.set()
    await own
    results = await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(result) for result in results[: WRONG.per_key]] == [type(None)] * int(WRONG.per_key)
    assert all(isinstance(result, ProtocolError) for result in results[int(WRONG.per_key) :])
    assert "too many new identities wait" in str(results[-1])
    assert len(gate.threads) == WRONG.per_key + 1


async def test_many_strangers_at_once_are_told_to_come_later(monkeypatch: pytest.MonkeyPatch) -> None:
    checks, wrong = Checks(), record(unpaid())
    gate = Gate(monkeypatch)
    waiting = [asyncio.ensure_future(checks.request(a_peer(), [wrong])) for _ in range(MOST_WAITING + 5)]
    await asyncio.sleep(0)
    gate.opened.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)

    assert sum(isinstance(result, ProtocolError) for result in results) == 5
    assert checks._senders == {}
    assert len(gate.threads) == 1  # the same wrong one is remembered, too


async def test_a_cancelled_check_ends_before_the_next_one_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise whoever hangs up at once has as many threads at work as it wants."""
    checks = Checks()
    first, second = ([record(unpaid())] for _ in range(2))
    gate = Gate(monkeypatch)
    hung_up = asyncio.ensure_future(checks.request(a_peer(), first))
    await computing(gate)
    hung_up.cancel()
    patient = asyncio.ensure_future(checks.request(a_peer(), second))
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(gate.threads) == 1

    gate.opened.set()
    await asyncio.wait({hung_up, patient})

    assert hung_up.cancelled()
    assert len(gate.threads) == 2
    assert checks._senders == {}


async def test_no_node_checks_what_others_send_in_its_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two real nodes; what one of them keeps and knows is new to the other, and so is what it stores."""
    found, viewed = await paid(), await paid()
    async with join_here() as first, join_here(first.addresses) as second:
        peer, protocol = PeerID.from_base58(first.peer_id), node_of(second).protocol
        key, keeper = DHTID.from_bytes(root_key(MODEL)), node_of(first).protocol
        kept, seen = record(found), record(viewed)
        monkeypatch.setattr(keeper, "_kept", lambda key: [kept])
        monkeypatch.setattr(keeper, "views", None)
        gate = Gate(monkeypatch)
        gate.opened.set()

        answered = await protocol.call_records(peer, [key])
        assert answered is not None
        assert [one.peer_id for one in answered[key][0]] == [found.peer_id]
        monkeypatch.setattr(keeper, "_kept", lambda key: [seen])
        view = await protocol.call_view(peer, key)
        assert view is not None
        assert [one.peer_id for one in view] == [viewed.peer_id]
        wrong = unpaid()
        request = dht_pb2.StoreRequest(
            keys=[key.to_bytes()],
            subkeys=[second.peer_id.encode()],
            values=[record(wrong)],
            expiration_time=[time.time() + 60],
        )
        request.peer.node_id = introduction(os.urandom(PROOF_BYTES))
        response = await protocol.get_stub(peer).rpc_store(request, timeout=5)

        (stored,) = response.stored
        assert "for which nobody has paid" in stored.refusal
        assert gate.threads == [checking._THREAD] * 4


async def test_one_that_stores_all_the_time_is_refused_and_others_are_not() -> None:
    """It has paid, but each of its records has a signature to verify."""
    one, other = await paid(), await paid()
    checks, batch = Checks(), [record(one)] * 16
    for _ in range(int(STORED.per_key // len(batch))):
        await checks.request(peer_of(one), batch)
    with pytest.raises(ProtocolError, match="too many records to keep"):
        await checks.request(peer_of(one), batch)
    await checks.request(peer_of(other), [record(other)])

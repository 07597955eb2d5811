"""What a client owes. Beyond the agreed limit, a server stops working for a client that doesn't sign."""

from __future__ import annotations

import asyncio
import time

import pytest

from p2pinfer.errors import RefusedError
from p2pinfer.identity import Identity
from p2pinfer.server.sessions import running_session
from p2pinfer.types import PeerId, SessionId, Span
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.receipt_pb2 import SignedReceipt
from p2pinfer.wire.receipts import Receipt, Work, is_countersigned, read_receipt, sign_receipt
from p2pinfer.wire.step_kind import StepKind
from p2pinfer.wire.steps import Outputs, RowChunk, pack_step
from tests.fakes import MODEL, FakeServer, FakeSwarm, fake_swarm, random_hidden, run_locally
from tests.server.wire_client import HopSession, Route, WireClient, send, until, wire_client

DAY = 86_400.0
SPAN = Span(0, 2)


def signed(hop: HopSession, client: Identity, work: Work, sequence: int = 1, **other) -> SignedReceipt:
    """What an honest client signs, except for the values that a test changes."""
    now = time.time()
    fields = {
        "session_id": SessionId(hop.id),
        "server": hop.member.peer_id,
        "client": client.public_key,
        "model": MODEL,
        "layers": SPAN,
        "work": work,
        "sequence": sequence,
        "issued_at": now,
        "expires_at": now + 90 * DAY,
    }
    return sign_receipt(Receipt(**(fields | other)), client)


async def settle(hop: HopSession, receipt: SignedReceipt, control_key: bytes | None = None) -> pb.SettleReply:
    ref = pb.SessionRef(session_id=hop.id, control_key=control_key or hop.control_key)
    return await hop._answer(hop.stub.Settle(pb.SettleRequest(session=ref, receipt=receipt)))


async def receipt_due(hop: HopSession) -> Work:
    """Wait until the server asks for a receipt."""
    frame = await hop.frame()
    assert frame.WhichOneof("body") == "receipt_due"
    return Work(frame.receipt_due.prefill_tokens, frame.receipt_due.decode_tokens)


async def ended(hop: HopSession) -> None:
    """Ignore requests for receipts until the server ends the session. Raises the server's error."""
    while True:
        await receipt_due(hop)


async def one_hop(swarm: FakeSwarm, client: WireClient) -> tuple[Route, HopSession, FakeServer]:
    member = swarm.members[0]
    route = await client.route(member, max_tokens=1024)
    return route, route.hops[0], member


async def test_an_opening_says_how_much_may_be_unsigned_and_no_step_is_longer():
    async with fake_swarm([SPAN], receipt_tokens=300) as swarm, wire_client() as client:
        _, hop, _ = await one_hop(swarm, client)
        assert (hop.opened.receipt_tokens, hop.opened.max_step_tokens) == (300, 300)


async def test_a_client_is_asked_to_sign_when_half_of_what_may_be_unsigned_was_done():
    """Prompt and answer are counted apart."""
    async with fake_swarm([SPAN], receipt_tokens=300) as swarm, wire_client() as client:
        route, hop, _ = await one_hop(swarm, client)
        hidden = random_hidden(151)
        for end in range(1, 3):
            await route.run(hidden[end - 1 : end], end - 1)
        await route.run(hidden[2:150], 2)
        due = await receipt_due(hop)
    assert due == Work(prefill_tokens=148, decode_tokens=2)


async def test_a_receipt_is_signed_by_the_server_too_and_kept():
    async with fake_swarm([SPAN], receipt_tokens=300) as swarm, wire_client() as client:
        route, hop, member = await one_hop(swarm, client)
        await route.run(random_hidden(160), 0)
        receipt = signed(hop, client.identity, Work(160, 0))
        reply = await settle(hop, receipt)
        [kept] = member.book.receipts
    assert kept.receipt == receipt.receipt
    assert kept.server_signature == reply.server_signature
    assert is_countersigned(kept, member.peer_id)
    assert read_receipt(kept).work == Work(160, 0)


async def test_a_step_that_would_leave_too_much_unsigned_waits_for_the_receipt():
    async with fake_swarm([SPAN], receipt_tokens=300) as swarm, wire_client() as client:
        route, hop, member = await one_hop(swarm, client)
        hidden = random_hidden(400)
        first = await route.run(hidden[:250], 0)
        assert await receipt_due(hop) == Work(250, 0)
        step = await route.send([RowChunk(0, 250, hidden[250:])])
        assert await receipt_due(hop) == Work(250, 0)  # another request: now it is urgent
        assert member.open_sessions[0].stream.lengths == [250]  # the server computed nothing for it
        await settle(hop, signed(hop, client.identity, Work(250, 0)))
        second = await route.receive(step, 150)
    assert [*first, *second] == pytest.approx(run_locally(hidden, 2))


async def test_who_does_not_sign_is_served_no_more(monkeypatch):
    monkeypatch.setattr(running_session, "RECEIPT_SECONDS", 0.05)
    async with fake_swarm([SPAN], receipt_tokens=300) as swarm, wire_client() as client:
        route, hop, member = await one_hop(swarm, client)
        hidden = random_hidden(400)
        await route.run(hidden[:250], 0)
        await route.send([RowChunk(0, 250, hidden[250:])])
        with pytest.raises(RefusedError, match="not signed") as refused:
            await ended(hop)
        await until(lambda: not member.sessions)
        assert member.accounts.unsigned_tokens == 250  # the most that the server can ever lose
    assert refused.value.reason == "unsigned"


async def test_signing_less_than_was_done_does_not_let_the_next_step_begin(monkeypatch):
    monkeypatch.setattr(running_session, "RECEIPT_SECONDS", 1.0)
    async with fake_swarm([SPAN], receipt_tokens=300) as swarm, wire_client() as client:
        route, hop, _ = await one_hop(swarm, client)
        hidden = random_hidden(500)
        await route.run(hidden[:300], 0)
        await route.send([RowChunk(0, 300, hidden[300:])])
        await settle(hop, signed(hop, client.identity, Work(50, 0)))
        with pytest.raises(RefusedError) as refused:
            await ended(hop)
    assert refused.value.reason == "unsigned"


async def test_a_receipt_for_more_than_was_done_is_not_taken_and_the_truth_is_told():
    async with fake_swarm([SPAN]) as swarm, wire_client() as client:
        route, hop, member = await one_hop(swarm, client)
        await route.run(random_hidden(20), 0)
        reply = await settle(hop, signed(hop, client.identity, Work(20, 1)))
        assert not reply.server_signature
        assert (reply.done.prefill_tokens, reply.done.decode_tokens) == (20, 0)
        assert member.book.receipts == []


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"server": PeerId("12D3KooWelsewhere")}, "another server"),
        ({"session_id": SessionId(bytes(16))}, "another session"),
        ({"model": "cd" * 32}, "another model"),
        ({"layers": Span(0, 1)}, "layers 0:1"),
        ({"expires_at": 1.0}, "expired"),
        ({"expires_at": time.time() + DAY}, "expires in less than"),
        ({"issued_at": time.time() + DAY}, "in the future"),
        ({"work": Work(0, 0)}, "no work"),
    ],
)
async def test_receipts_for_something_else_are_refused(change, why):
    async with fake_swarm([SPAN]) as swarm, wire_client() as client:
        route, hop, member = await one_hop(swarm, client)
        await route.run(random_hidden(20), 0)
        hop.call.cancel()
        await until(lambda: not member.sessions)
        receipt = signed(hop, client.identity, **({"work": Work(20, 0)} | change))
        with pytest.raises(RefusedError, match=why) as refused:
            await settle(hop, receipt)
        assert refused.value.reason == "bad-receipt"
        assert member.book.receipts == []
        await settle(hop, signed(hop, client.identity, Work(20, 0)))  # a good receipt is still accepted


async def test_a_receipt_of_another_client_is_refused():
    async with fake_swarm([SPAN]) as swarm, wire_client() as client:
        route, hop, _ = await one_hop(swarm, client)
        await route.run(random_hidden(20), 0)
        stranger = Identity.ephemeral()
        with pytest.raises(RefusedError, match="another client"):
            await settle(hop, signed(hop, stranger, Work(20, 0)))


async def test_altered_receipts_are_refused():
    async with fake_swarm([SPAN]) as swarm, wire_client() as client:
        route, hop, _ = await one_hop(swarm, client)
        await route.run(random_hidden(20), 0)
        receipt = signed(hop, client.identity, Work(20, 0))
        receipt.receipt = receipt.receipt.replace(MODEL.encode(), b"cd" * 32)
        with pytest.raises(RefusedError, match="not signed by the client"):
            await settle(hop, receipt)


async def test_replayed_receipts_are_refused():
    async with fake_swarm([SPAN]) as swarm, wire_client() as client:
        route, hop, member = await one_hop(swarm, client)
        await route.run(random_hidden(20), 0)
        hop.call.cancel()
        await until(lambda: not member.sessions)
        receipt = signed(hop, client.identity, Work(15, 0))
        await settle(hop, receipt)
        with pytest.raises(RefusedError, match="number 1"):
            await settle(hop, receipt)
        assert len(member.book.receipts) == 1


async def test_only_who_holds_the_control_key_settles():
    async with fake_swarm([SPAN]) as swarm, wire_client() as client:
        route, hop, _ = await one_hop(swarm, client)
        await route.run(random_hidden(20), 0)
        with pytest.raises(RefusedError) as refused:
            await settle(hop, signed(hop, client.identity, Work(20, 0)), control_key=bytes(32))
    assert refused.value.reason == "unknown-session"


async def test_crumbs_are_not_taken_while_the_session_is_open_but_after_its_end():
    """Every receipt waits for the disk."""
    async with fake_swarm([SPAN], receipt_tokens=800) as swarm, wire_client() as client:
        route, hop, member = await one_hop(swarm, client)
        await route.run(random_hidden(20), 0)
        with pytest.raises(RefusedError, match="sign when asked"):
            await settle(hop, signed(hop, client.identity, Work(20, 0)))
        hop.call.cancel()
        await until(lambda: not member.sessions)
        await settle(hop, signed(hop, client.identity, Work(20, 0), sequence=2))
        assert len(member.book.receipts) == 1


async def test_a_crumb_that_was_asked_for_is_taken():
    """A step as large as the limit has to wait for a receipt even for one token before it."""
    async with fake_swarm([SPAN], receipt_tokens=256) as swarm, wire_client() as client:
        route, hop, _ = await one_hop(swarm, client)
        hidden = random_hidden(257)
        await route.run(hidden[:1], 0)
        step = await route.send([RowChunk(0, 1, hidden[1:])])
        assert await receipt_due(hop) == Work(0, 1)
        await settle(hop, signed(hop, client.identity, Work(0, 1)))
        assert len(await route.receive(step, 256)) == 256


async def test_an_ended_session_is_written_down_once_it_is_signed_for():
    async with fake_swarm([SPAN]) as swarm, wire_client() as client:
        route, hop, member = await one_hop(swarm, client)
        await route.run(random_hidden(20), 0)
        hop.call.cancel()
        await until(lambda: not member.sessions)
        assert member.book.sessions == []
        await settle(hop, signed(hop, client.identity, Work(20, 0)))
        [(expected, work)] = member.book.sessions
    assert (expected.session_id, expected.client, work) == (hop.id, client.identity.public_key, Work(20, 0))


async def test_an_ended_session_that_nobody_signs_for_is_written_down_with_its_loss():
    async with fake_swarm([SPAN]) as swarm, wire_client() as client:
        route, hop, member = await one_hop(swarm, client)
        await route.run(random_hidden(20), 0)
        hop.call.cancel()
        await until(lambda: not member.sessions)
        member.accounts.retire(everybody=True)
        assert [work for _, work in member.book.sessions] == [Work(20, 0)]
        with pytest.raises(RefusedError):
            await settle(hop, signed(hop, client.identity, Work(20, 0)))


async def test_a_ledger_that_cannot_be_written_gives_no_signature():
    async with fake_swarm([SPAN]) as swarm, wire_client() as client:
        route, hop, member = await one_hop(swarm, client)
        await route.run(random_hidden(20), 0)
        hop.call.cancel()
        await until(lambda: not member.sessions)
        member.book.full = True
        with pytest.raises(RefusedError, match="can't write its ledger") as refused:
            await settle(hop, signed(hop, client.identity, Work(20, 0)))
    assert refused.value.reason == "failed"


async def test_a_server_that_leaves_waits_a_moment_for_the_last_receipts():
    async with fake_swarm([SPAN]) as swarm, wire_client() as client:
        route, hop, member = await one_hop(swarm, client)
        await route.run(random_hidden(20), 0)
        hop.call.cancel()
        await until(lambda: not member.sessions)
        waiting = asyncio.create_task(member.accounts.wait_settled(120.0))
        await settle(hop, signed(hop, client.identity, Work(20, 0)))
        await asyncio.wait_for(waiting, 30)


async def test_history_counts_as_prefill_though_it_comes_token_by_token():
    async with fake_swarm([SPAN]) as swarm, wire_client() as client:
        member = swarm.members[0]
        route = await client.route(member)
        hidden = random_hidden(2)
        for position in range(2):
            chunk = RowChunk(0, position, hidden[position : position + 1])
            await send(route.steps, pack_step(0, StepKind.HISTORY, [chunk], Outputs.NONE, pb.FLOAT32))
        await until(lambda: member.open_sessions[0].lease.account.done == Work(prefill_tokens=2))


async def test_who_has_signed_before_is_known_after_a_start():
    key, crumbs = Identity.ephemeral(), Identity.ephemeral()
    async with fake_swarm([Span(0, 2)]) as swarm:
        accounts, book = swarm.members[0].accounts, swarm.members[0].book
        book.clients = [(crumbs.public_key, 3), (key.public_key, 100_000)]
        await accounts.remember()
        assert accounts.merits.is_known(key.public_key)
        assert not accounts.merits.is_known(crumbs.public_key)


async def test_who_signs_for_enough_is_known_in_all_its_sessions():
    async with fake_swarm([Span(0, 2)], receipt_tokens=1200) as swarm, wire_client() as client:
        (first, hop, member), _ = await one_hop(swarm, client), await one_hop(swarm, client)
        for _ in range(10):
            await first.run(random_hidden(60), 0)
        assert [lease.guest.is_known for lease in member.sessions.leases] == [False, False]
        await settle(hop, signed(hop, client.identity, Work(600, 0)))
        assert [lease.guest.is_known for lease in member.sessions.leases] == [True, True]

"""While it generates, a client signs, over real calls, for exactly the tokens that were computed."""

from __future__ import annotations

import asyncio
import time

import pytest

from p2pinfer.client.network import Network
from p2pinfer.errors import NoRouteError
from p2pinfer.server.streams.allowance import Allowance
from p2pinfer.types import Span
from p2pinfer.wire.receipts import Work, read_receipt
from tests.client.sessions import THREE, in_client, session_of
from tests.fakes import FakeServer, fake_swarm
from tests.server.wire_client import until

SECONDS = 30.0


def signed_work(member: FakeServer) -> dict[bytes, Work]:
    """The work that this server has receipts for, by session."""
    receipts = [read_receipt(signed) for signed in member.book.receipts]
    return {receipt.session_id: receipt.work for receipt in sorted(receipts, key=lambda one: one.sequence)}


async def test_after_a_session_every_hop_has_a_receipt_for_all_that_it_did():
    def work(network: Network) -> int:
        with session_of(network) as session:
            session.compute([[1, 2, 3, 4, 5]], [1])
            session.compute([[1, 2, 3, 4, 5, 6]], [1])
        deadline = time.monotonic() + SECONDS
        while len(network.payer.receipts) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        return len(network.payer.receipts)

    async with fake_swarm(THREE) as swarm:
        assert await in_client(swarm, work) == 3
        for member in swarm.members:
            assert list(signed_work(member).values()) == [Work(prefill_tokens=5, decode_tokens=1)]
            assert member.accounts.unsigned_tokens == 0


async def test_while_a_session_lives_no_more_than_the_limit_is_ever_unsigned(monkeypatch):
    """The prompt is ten times the limit, on every hop."""
    most: dict[int, int] = {}
    count = Allowance.count

    def counted(allowance: Allowance, work: Work) -> None:
        count(allowance, work)
        most[id(allowance)] = max(most.get(id(allowance), 0), allowance.unsigned_tokens)

    monkeypatch.setattr(Allowance, "count", counted)

    def work(network: Network) -> None:
        with session_of(network, max_length=4096) as session:
            session.compute([[1] * 2560], [1])

    async with fake_swarm(THREE, receipt_tokens=256) as swarm:
        await in_client(swarm, work)
        for member in swarm.members:
            assert sum(work.tokens for work in signed_work(member).values()) >= 2560 - 256
    assert len(most) == 3
    assert 0 < max(most.values()) <= 256


async def test_a_hop_that_claims_more_than_it_was_asked_is_not_believed(monkeypatch):
    """The server stops working without a receipt for its false claim, so another server replaces it."""
    monkeypatch.setattr("p2pinfer.server.sessions.running_session.RECEIPT_SECONDS", 1.0)
    async with fake_swarm([Span(0, 2)], receipt_tokens=256) as swarm:
        liar = swarm.members[0]
        count = Allowance.count

        def exaggerate(allowance: Allowance, work: Work) -> None:
            lies = any(session.stream.allowance is allowance for session in liar.open_sessions)
            count(allowance, Work(work.prefill_tokens * 2, work.decode_tokens) if lies else work)

        monkeypatch.setattr(Allowance, "count", exaggerate)
        honest = await swarm.add(Span(0, 2))

        def work(network: Network) -> list[object]:
            with session_of(network, num_layers=2, max_length=2048) as session:
                session.compute([[1] * 1500], [1])
                return [hop.peer_id for hop in session.report()]

        for _ in range(4):  # until the client asked the lying server first
            assert await in_client(swarm, work, num_layers=2) == [honest.peer_id]
            if liar.book.sessions or liar.accounts.unsigned_tokens:
                break
    assert all(signed.tokens <= 1500 for signed in signed_work(liar).values())


async def test_a_session_whose_client_cannot_settle_ends_with_a_clear_word(monkeypatch):
    """A client that signs nothing gets as much work as the limit allows, then an error that says why."""
    monkeypatch.setattr("p2pinfer.server.sessions.running_session.RECEIPT_SECONDS", 0.1)
    monkeypatch.setattr("p2pinfer.client.pay.tally.Tally.to_sign", lambda tally, claimed: None)

    def work(network: Network) -> None:
        with session_of(network, num_layers=2, max_length=2048, route=1.0) as session:
            with pytest.raises(NoRouteError) as ended:
                session.compute([[1] * 1500], [1])
            assert "not signed for" in str(ended.value.__cause__)

    async with fake_swarm([Span(0, 2)], receipt_tokens=256) as swarm:
        await in_client(swarm, work, num_layers=2)
        assert swarm.members[0].book.receipts == []


async def test_a_hop_that_was_replaced_is_paid_for_what_it_did_and_so_is_who_replaced_it():
    async with fake_swarm([Span(0, 2), Span(0, 2)]) as swarm:
        loop = asyncio.get_running_loop()

        def work(network: Network) -> None:
            with session_of(network, num_layers=2, max_length=4096) as session:
                session.compute([[1, 2, 3]], [1])
                [first] = session.report()
                leaver = next(one for one in swarm.members if one.peer_id == first.peer_id)
                loop.call_soon_threadsafe(leaver.drain)
                row = [1, 2, 3]
                deadline = time.monotonic() + SECONDS
                while session.report()[0].peer_id == leaver.peer_id and time.monotonic() < deadline:
                    row.append(4)
                    session.compute([list(row)], [1])

        await in_client(swarm, work, num_layers=2)
        for member in swarm.members:
            await until(lambda member=member: member.accounts.unsigned_tokens == 0)
            assert len(signed_work(member)) == 1

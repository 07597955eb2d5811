"""Opening sessions over real gRPC: which are accepted, what they lease, and what is freed again."""

from __future__ import annotations

import asyncio
import logging
import os

import grpc
import pytest

from p2pinfer.errors import HopFailedError, RefusedError
from p2pinfer.identity import Identity
from p2pinfer.server.sessions import next_hops
from p2pinfer.types import Span
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.certificates import new_certificate, pinned
from p2pinfer.wire.channels import CHANNEL_OPTIONS
from p2pinfer.wire.status import Reason, refusal_of
from tests.fakes import FakeEngine, fake_swarm, random_hidden
from tests.server.wire_client import opened, until, wire_client
from tests.swarm.strangers_record import strangers_record

VALID = new_certificate().der
VERSION_15 = VALID.replace(bytes.fromhex("a003020102"), bytes.fromhex("a00302010e"))


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        ({"max_tokens": 100_000}, "too-long"),
        ({"rows": 200, "max_tokens": 64}, "too-long"),
        ({"rows": 1000, "max_tokens": 1}, "too-long"),
        ({"model": "cd" * 32}, "wrong-model"),
        ({"numerics": "other"}, "wrong-numerics"),
        ({"server": "12D3KooWother"}, "wrong-server"),
        ({"end_layer": 3}, "wrong-layers"),
    ],
)
async def test_an_opening_that_cannot_be_served_is_refused_with_its_reason(break_it, reason):
    async with fake_swarm([Span(0, 2)]) as swarm, wire_client() as client:
        with pytest.raises(RefusedError) as refused:
            await client.open(swarm.members[0], **break_it)

    assert refused.value.reason == reason


async def test_a_full_server_refuses_and_says_when_to_come_back_and_a_closed_session_frees_it():
    async with fake_swarm([Span(0, 2)], cache_tokens=100) as swarm:
        async with opened(swarm, max_tokens=80):
            with pytest.raises(RefusedError) as refused:
                async with opened(swarm, max_tokens=80):
                    pass
        assert refused.value.reason == "cache-full"
        assert refused.value.retry_after_seconds > 0
        await until(lambda: swarm.members[0].sessions.free_cache_tokens == 100)
        async with opened(swarm, max_tokens=80):
            pass


async def test_a_server_with_another_certificate_is_not_talked_to():
    """A process that takes over an address can't take over its sessions."""
    async with fake_swarm([Span(0, 2), Span(0, 2)]) as swarm, wire_client() as client:
        honest, impostor = swarm.members
        honest.port = impostor.port
        with pytest.raises(HopFailedError, match="unreachable"):
            await client.open(honest)


async def test_a_next_hop_that_is_down_is_told_at_opening_and_the_caches_are_freed(monkeypatch):
    monkeypatch.setattr(next_hops, "DIAL_SECONDS", 0.1)
    caches = []
    make = FakeEngine.new_cache
    monkeypatch.setattr(FakeEngine, "new_cache", lambda *args: caches.append(make(*args)) or caches[-1])
    async with fake_swarm([Span(0, 2), Span(2, 4)]) as swarm, wire_client() as client:
        first, second = swarm.members
        next_hop = await client.open(second)
        await swarm.kill(second)
        with pytest.raises(RefusedError, match="unreachable") as refused:
            await client.open(first, next_hop.downstream())
        assert refused.value.reason == "next-hop-unreachable"
        await until(lambda: all(cache.released for cache in caches))
    assert len(caches) == 2


async def test_sessions_that_still_run_when_a_server_stops_free_their_caches(monkeypatch):
    """Their calls end when nobody computes any more."""
    caches = []
    make = FakeEngine.new_cache
    monkeypatch.setattr(FakeEngine, "new_cache", lambda *args: caches.append(make(*args)) or caches[-1])
    async with fake_swarm([Span(0, 2)]) as swarm, opened(swarm, rows=3):
        swarm.members[0].runner.__exit__()  # only what computes is stopped: the calls end later
        assert [cache.released for cache in caches] == [True] * 3


@pytest.mark.parametrize(
    "certificate", [VERSION_15, b"der", VALID + b"\0"], ids=["version 15", "none", "more"]
)
async def test_a_next_hop_whose_certificate_cant_be_read_is_refused_with_the_reason_and_no_fault(
    certificate, caplog
):
    """Anybody can sign such a record, and name it as the next hop, at opening and later."""
    async with fake_swarm([Span(0, 2), Span(2, 4)]) as swarm, wire_client() as client:
        first, second = swarm.members
        next_hop = (await client.open(second)).downstream()
        session = await client.open(first, next_hop)
        spoiled = strangers_record(second.record(), second.identity, certificate=certificate)
        other = pb.Downstream(record=spoiled, session_id=bytes(16), steps_key=bytes(32))
        for asking in (client.open(first, other), session.set_downstream(other)):
            with pytest.raises(RefusedError, match="record is not valid: certificate: ") as refused:
                await asking
            assert refused.value.reason == "bad-opening"
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("method", ["Ping", "SetUpstream", "SetDownstream", "Progress", "Settle", "Session"])
async def test_a_request_that_cant_be_parsed_is_refused_and_logs_nothing(method, caplog):
    """gRPC would answer UNKNOWN and log a traceback for each."""
    async with fake_swarm([Span(0, 2)]) as swarm:
        member = swarm.members[0]
        channel = grpc.aio.secure_channel(
            f"127.0.0.1:{member.port}", pinned(member.certificate_der), options=CHANNEL_OPTIONS
        )
        async with channel:
            call = channel.unary_stream(f"/p2pinfer.wire.Inference/{method}")(b"\xff" * 20)
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await call.read()
    refused = refusal_of(error.value)
    assert refused is not None and refused.reason is Reason.BAD_OPENING
    assert "can't be parsed" in refused.detail
    assert caplog.text == ""


async def test_a_session_without_steps_expires_and_its_memory_is_free_again():
    async with fake_swarm([Span(0, 2)], idle_seconds=1.0) as swarm:
        member = swarm.members[0]
        expiring = asyncio.create_task(member.sessions.expire_forever())
        async with opened(swarm) as route:
            with pytest.raises(RefusedError) as refused:
                await route.hops[0].frame()
        expiring.cancel()
        assert refused.value.reason == "idle"
        await until(lambda: member.sessions.free_cache_tokens == member.cache_tokens)


async def test_a_client_with_too_many_sessions_is_told_so_and_others_still_get_in(monkeypatch):
    monkeypatch.setattr("p2pinfer.server.door.admission.MAX_CLIENT_SESSIONS", 2)
    identity = Identity.ephemeral()
    async with fake_swarm([Span(0, 2)]) as swarm:
        async with opened(swarm, identity=identity), opened(swarm, identity=identity):
            with pytest.raises(RefusedError, match="one session's rows") as refused:
                async with opened(swarm, identity=identity):
                    pass
            async with opened(swarm):
                pass
        assert refused.value.reason == "busy"
        assert refused.value.retry_after_seconds > 0
        assert swarm.members[0].sessions.count_of(identity.public_key) <= 2


async def test_patient_sessions_leave_room_for_questions_of_their_own_client_too():
    identity = Identity.ephemeral()
    async with fake_swarm([Span(0, 2)], cache_tokens=128) as swarm:
        async with opened(swarm, identity=identity, max_tokens=48, patient=True):
            with pytest.raises(RefusedError, match="patient sessions may have 80 tokens") as refused:
                async with opened(swarm, max_tokens=48, patient=True):
                    pass
            assert refused.value.reason == "cache-full"
            async with opened(swarm, max_tokens=32, patient=True):
                assert swarm.members[0].sessions.patient_tokens == 80
                async with opened(swarm, identity=identity, max_tokens=48):
                    assert swarm.members[0].sessions.free_cache_tokens == 0
        await until(lambda: swarm.members[0].sessions.patient_tokens == 0)
        async with opened(swarm, max_tokens=128, patient=True):  # a single row may have all of it
            pass


async def test_the_first_patient_session_leaves_room_for_questions_as_well():
    """It stays for as long as there are documents: a client with others could ask nothing for hours."""
    async with fake_swarm([Span(0, 2)], cache_tokens=128) as swarm:
        with pytest.raises(RefusedError, match="patient sessions may have 80 tokens") as refused:
            async with opened(swarm, rows=4, max_tokens=32, patient=True):
                pass
        assert refused.value.reason == "too-long"  # fewer rows are asked for at once
        async with opened(swarm, rows=2, max_tokens=32, patient=True), opened(swarm, max_tokens=64):
            pass


async def test_a_session_of_half_the_layers_leases_half_the_memory_in_whole_pages():
    async with fake_swarm([Span(0, 2)], cache_tokens=64) as swarm:
        async with opened(swarm, Span(0, 1), max_tokens=17):
            assert swarm.members[0].sessions.free_cache_tokens == 64 - 32 // 2


async def test_an_opening_can_not_be_replayed_or_altered():
    """A copied request is good once, at one server, with the values that were signed."""
    async with fake_swarm([Span(0, 2)]) as swarm, wire_client() as client:
        member = swarm.members[0]
        await client.open(member)
        altered = pb.Opening()
        altered.CopyFrom(client.openings[0])
        terms = pb.Terms.FromString(altered.terms)
        terms.session_id = os.urandom(16)
        altered.terms = terms.SerializeToString()
        stub = await client.stub(member)
        for opening in (client.openings[0], altered, pb.Opening(), pb.Opening(terms=b"\xff" * 100)):
            call = stub.Session(opening)
            assert (await call.code()).name == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    "spoiled",
    [
        {"steps_key": b"short"},
        {"control_key": b""},
        {"results_key": b""},
        {"session_id": b"1"},
        {"wire_dtype": 9},
        {"rows": 0},
        {"downstream": pb.Downstream(record=b"x", session_id=bytes(15), steps_key=bytes(32))},
        {"downstream": pb.Downstream(record=b"x", session_id=bytes(16), steps_key=bytes(31))},
        {"downstream": pb.Downstream(record=b"x", session_id=bytes(16), steps_key=bytes(32))},
    ],
)
async def test_terms_that_are_malformed_are_refused(spoiled):
    async with fake_swarm([Span(0, 2)]) as swarm, wire_client() as client:
        member = swarm.members[0]
        with pytest.raises(RefusedError) as refused:
            await client.open(member, **spoiled)
        assert refused.value.reason == "bad-opening"
        await until(lambda: len(member.sessions) == 0)


async def test_a_session_serves_right_after_another_was_refused():
    async with fake_swarm([Span(0, 2)]) as swarm, wire_client() as client:
        with pytest.raises(RefusedError):
            await client.open(swarm.members[0], rows=0)
        route = await client.route(swarm.members[0])
        assert len(await route.run(random_hidden(2), 0)) == 2


async def test_the_id_of_an_open_session_opens_no_other_one(monkeypatch):
    """Also when the opening was so long ago that its id isn't remembered any more."""
    monkeypatch.setattr("p2pinfer.server.sessions.session_table._REMEMBERED_SESSIONS", 0)
    async with fake_swarm([Span(0, 2)]) as swarm, wire_client() as client:
        route = await client.route(swarm.members[0])
        with pytest.raises(RefusedError) as refused:
            await client.open(swarm.members[0], session_id=route.hops[0].id)
        assert refused.value.reason == "bad-opening"
        assert len(await route.run(random_hidden(2), 0)) == 2
        assert len(swarm.members[0].sessions) == 1

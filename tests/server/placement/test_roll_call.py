"""A roll call among real servers on this machine, and records of servers that aren't there."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import grpc

from p2pinfer.identity import Identity
from p2pinfer.server.door.front_door import listen_on
from p2pinfer.server.door.listeners import serve_on_sockets
from p2pinfer.server.door.reception import Reception
from p2pinfer.server.placement.asking import ASKED_PER_LAYER
from p2pinfer.server.placement.roll_call import RollCall
from p2pinfer.swarm.coordinates.position import Position
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.types import PeerId, Span
from p2pinfer.wire.certificates import new_certificate
from p2pinfer.wire.inference_pb2_grpc import add_InferenceServicer_to_server
from tests.fakes import fake_swarm

US = PeerId("us")


@contextmanager
def silent() -> Iterator[str]:
    """HOST:PORT of a socket that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@asynccontextmanager
async def babbling(like: Announcement) -> AsyncIterator[Announcement]:
    """The record of a stranger whose answers to pings and openings aren't any."""
    certificate, server = new_certificate(), grpc.aio.server()
    methods = {
        "Ping": grpc.unary_unary_rpc_method_handler(_nonsense),
        "Session": grpc.unary_stream_rpc_method_handler(_much_nonsense),
    }
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("p2pinfer.wire.Inference", methods),)
    )
    port = server.add_secure_port("127.0.0.1:0", certificate.credentials)
    await server.start()
    try:
        yield replace(
            like,
            peer_id=Identity.ephemeral().peer_id,
            endpoints=(f"127.0.0.1:{port}",),
            certificate=certificate.der,
        )
    finally:
        await server.stop(None)


async def _nonsense(request: bytes, context: object) -> bytes:
    return b"\xff\xff\xff"


async def _much_nonsense(request: bytes, context: object) -> AsyncIterator[bytes]:
    yield b"\xff\xff\xff"


@asynccontextmanager
async def loading(like: Announcement, folder: Path) -> AsyncIterator[Announcement]:
    """The record of a server whose door is open and whose layers aren't there yet."""
    async with AsyncExitStack() as stack:
        listener, reception = listen_on("127.0.0.1:0"), Reception()
        port = listener.getsockname()[1]
        served = serve_on_sockets(
            [partial(add_InferenceServicer_to_server, reception)],
            reception.adopt,
            [listener],
            f"{folder}/grpc.sock",
            leave_seconds=0,
        )
        certificate = (await stack.enter_async_context(served)).der
        yield replace(
            like,
            peer_id=Identity.ephemeral().peer_id,
            state=ServerState.JOINING,
            endpoints=(f"127.0.0.1:{port}",),
            certificate=certificate,
        )


async def test_who_answers_a_roll_call_shows_a_newcomer_where_it_is():
    position = Position()
    async with fake_swarm([Span(0, 2)] * 2) as swarm, RollCall(US, 2, None, position) as roll_call:
        answers = await roll_call.call(await swarm.servers("ab" * 32), 3.0)

    assert set(position._peers) == {peer_id for peer_id, is_there in answers.items() if is_there}
    assert position._peers


async def test_servers_count_that_answer():
    """Not one that is gone, nor one that says nothing, which is not waited for."""
    async with fake_swarm([Span(0, 2), Span(2, 4)]) as swarm, RollCall(US, 4, None) as roll_call:
        here, gone = await swarm.servers("ab" * 32)
        await swarm.kill(swarm.members[1])
        with silent() as endpoint:
            mute = replace(here, peer_id=Identity.ephemeral().peer_id, endpoints=(endpoint,))
            answers = await roll_call.call([here, gone, mute], 0.5)

            assert answers == {here.peer_id: True, gone.peer_id: False, mute.peer_id: False}
            assert roll_call.is_waiting


async def test_a_server_that_loads_says_that_it_is_busy_and_so_that_it_is_there(tmp_path: Path):
    """But nobody serves who says so."""
    async with fake_swarm([Span(0, 2)]) as swarm, RollCall(US, 2, None) as roll_call:
        [served] = await swarm.servers("ab" * 32)
        async with loading(served, tmp_path) as joining:
            liar = replace(joining, peer_id=Identity.ephemeral().peer_id, state=ServerState.SERVING)
            answers = await roll_call.call([joining, liar], 5.0)

    assert answers == {joining.peer_id: True, liar.peer_id: False}


async def test_who_answers_nonsense_is_not_there_and_nothing_fails():
    async with fake_swarm([Span(0, 2)]) as swarm, RollCall(US, 2, None) as roll_call:
        [here] = await swarm.servers("ab" * 32)
        async with babbling(here) as liar:
            answers = await roll_call.call([here, liar], 5.0)

    assert answers == {here.peer_id: True, liar.peer_id: False}


async def test_an_address_that_was_copied_from_another_proves_nothing():
    """The answer names the server that gives it."""
    async with fake_swarm([Span(0, 2)]) as swarm, RollCall(US, 2, None) as roll_call:
        [served] = await swarm.servers("ab" * 32)
        copied = replace(served, peer_id=Identity.ephemeral().peer_id)

        assert await roll_call.call([copied], 5.0) == {copied.peer_id: False}
        assert await roll_call.call([served], 5.0) == {copied.peer_id: False, served.peer_id: True}


async def test_a_server_is_asked_in_the_place_of_one_that_says_nothing():
    """Within the call if it isn't there, else in the next: the mute ones aren't waited for."""
    async with fake_swarm([Span(0, 2)]) as swarm, RollCall(US, 2, None) as roll_call:
        [here] = await swarm.servers("ab" * 32)
        with silent() as endpoint:
            strangers = [Identity.ephemeral().peer_id for _ in range(30)]
            mute = [replace(here, peer_id=stranger, endpoints=(endpoint,)) for stranger in strangers]
            closed = [replace(one, endpoints=()) for one in mute]

            async with RollCall(US, 2, None) as other:
                assert (await other.call([*closed, here], 5.0))[here.peer_id]
            for _ in range(len(strangers) // ASKED_PER_LAYER):
                await roll_call.call([*mute, here], 0.0)
            async with asyncio.timeout(30):
                while not (answers := dict(await roll_call.call([*mute, here], 0.1))).get(here.peer_id):
                    pass

    assert not any(answered for peer_id, answered in answers.items() if peer_id != here.peer_id)

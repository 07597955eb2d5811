"""What hivemind unpacks is bounded; what it does when callers give up harms nobody."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import msgpack
import pytest
from hivemind.dht.routing import DHTID
from hivemind.dht.traverse import traverse_dht
from hivemind.p2p import P2P, P2PContext, PeerID, ServicerBase
from hivemind.p2p.p2p_daemon_bindings.control import ControlClient
from hivemind.proto import dht_pb2, p2pd_pb2
from hivemind.utils.serializer import MSGPackSerializer

from p2pinfer.identity import Identity, peer_id_to_bytes
from p2pinfer.swarm.kademlia.hardening import TaskOwner, bounded_loads, current_owner
from tests.swarm.kademlia.bomb import nested_bomb


def test_the_bomb_is_one() -> None:
    """hivemind's own unpacking crashes on it; otherwise the other tests would show nothing."""
    program = (
        "import resource, sys, p2pinfer.swarm  # hivemind without torch, but not yet repaired\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
        "from hivemind.utils.serializer import MSGPackSerializer\n"
        "MSGPackSerializer.loads(sys.stdin.buffer.read())\n"
    )
    outcome = subprocess.run([sys.executable, "-c", program], input=nested_bomb(), capture_output=True)

    assert outcome.returncode < 0


def test_msgpack_is_bounded_and_still_reads_what_is_fine() -> None:
    for value in (1, "a", [1, [2, [3]]], {"a": b"b"}, (1, ("a", (2,)))):
        assert MSGPackSerializer.loads(MSGPackSerializer.dumps(value)) == value
    for data in (
        nested_bomb(),
        nested_bomb(6),
        b"",
        b"\xc1",
        bytes(2 << 20),
        msgpack.packb(msgpack.ExtType(9, b"")),
    ):
        with pytest.raises(ValueError, match="msgpack"):
            bounded_loads(data)


class Wire:
    """What a node and its p2pd tell each other, by hand."""

    def __init__(self) -> None:
        self.to_node = asyncio.StreamReader()

    async def open_persistent_connection(self) -> tuple[asyncio.StreamReader, Any]:
        """As the connector does it; what the node says isn't looked at."""
        return self.to_node, self

    def write(self, data: bytes) -> None: ...

    async def drain(self) -> None: ...

    def close(self) -> None: ...

    def say(self, **fields: Any) -> None:
        """Let p2pd tell the node something."""
        data = p2pd_pb2.PersistentConnectionResponse(**fields).SerializeToString()
        assert len(data) < 128  # the length is one byte
        self.to_node.feed_data(bytes([len(data)]) + data)


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[ControlClient, Wire]]:
    wire = Wire()
    control = await ControlClient.create(wire)
    yield control, wire
    control.close()


PEER = PeerID(peer_id_to_bytes(Identity.ephemeral().peer_id))


async def some_steps() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize("kind", ["response", "error"])
async def test_an_answer_that_comes_when_its_caller_gives_up_leaves_the_node_hearing(kind: str) -> None:
    """hivemind's reader ended by it: the node heard nothing any more, and nobody heard of the node."""

    def say(data: bytes) -> None:
        (call_id,) = control._pending_calls
        wire.say(callId=call_id.bytes, callUnaryResponse=p2pd_pb2.CallUnaryResponse(**{kind: data}))

    async with connected() as (control, wire):
        given_up = asyncio.create_task(control.call_unary_handler(PEER, "ask", b""))
        await some_steps()
        say(b"late")
        given_up.cancel()
        await asyncio.wait({given_up})
        assert given_up.cancelled()
        call = asyncio.create_task(control.call_unary_handler(PEER, "ask", b""))
        await some_steps()
        say(b"heard")
        await asyncio.wait({call}, timeout=5.0)
        assert call.result() == b"heard" if kind == "response" else "heard" in str(call.exception())


async def test_a_question_that_is_taken_back_is_forgotten() -> None:
    asked = asyncio.Event()

    async def answer(data: bytes, peer: PeerID) -> bytes:
        asked.set()
        await asyncio.Event().wait()
        return b""

    async with connected() as (control, wire):
        control.unary_handlers["ask"] = answer
        for proto in ("ask", "unknown"):
            call_id = uuid4().bytes
            request = p2pd_pb2.CallUnaryRequest(peer=PEER.to_bytes(), proto=proto, data=b"")
            wire.say(callId=call_id, requestHandling=request)
            await some_steps()
            wire.say(callId=call_id, cancel=p2pd_pb2.Cancel())
            await some_steps()
        assert asked.is_set()
        assert control._handler_tasks == {}


class Asker(ServicerBase):  # type: ignore[misc]  # hivemind is untyped
    """Asks peers, as nodes do."""

    async def rpc_ping(self, request: dht_pb2.PingRequest, context: P2PContext) -> dht_pb2.PingResponse:
        raise AssertionError("nobody asks here")


def pinging(control: ControlClient, timeout: float) -> asyncio.Task[dht_pb2.PingResponse]:
    """A call to a peer, under way."""
    p2p = P2P()
    p2p._client, p2p._client_listen_maddr = control, None
    stub = Asker.get_stub(p2p, PEER)
    return asyncio.create_task(stub.rpc_ping(dht_pb2.PingRequest(), timeout=timeout))


@pytest.mark.parametrize("steps", range(8), ids=str)
async def test_who_gives_up_has_given_up_whenever_the_answer_comes(steps: int) -> None:
    """Python 3.11's own `wait_for` took the answer instead: the caller that had to end went on."""
    async with connected() as (control, wire):
        call = pinging(control, 3600.0)
        await some_steps()
        (call_id,) = control._pending_calls
        wire.say(callId=call_id.bytes, callUnaryResponse=p2pd_pb2.CallUnaryResponse(response=b""))
        for _ in range(steps):
            await asyncio.sleep(0)
        is_given_up = call.cancel()
        await asyncio.wait({call})
        assert call.cancelled() == is_given_up


async def test_a_call_without_an_answer_ends_in_time() -> None:
    async with connected() as (control, _):
        with pytest.raises(TimeoutError):
            await pinging(control, 0.01)
        assert control._pending_calls == {}


async def test_a_search_that_is_cut_short_leaves_no_task_behind() -> None:
    """hivemind's left one for each question: where a node near a key was dead, each read left some."""
    owner = TaskOwner()
    asked: asyncio.Queue[DHTID] = asyncio.Queue()
    dead = DHTID(20)

    async def ask(node: DHTID, keys: Collection[DHTID]) -> dict[DHTID, tuple[tuple[DHTID, ...], bool]]:
        asked.put_nowait(node)
        if node == dead:
            await given_up.wait()
        return dict.fromkeys(keys, ((), False))

    async def search() -> None:
        current_owner.set(owner)
        await traverse_dht(
            queries=[DHTID(0)],
            initial_nodes=[DHTID(place) for place in range(1, 21)],
            beam_size=20,
            num_workers=2,
            queries_per_call=1,
            get_neighbors=ask,
        )

    given_up = asyncio.Event()
    searching = asyncio.create_task(search())
    for _ in range(20):
        await asked.get()
    searching.cancel()
    await asyncio.wait({searching})
    given_up.set()
    await some_steps()
    assert len(owner) == 0

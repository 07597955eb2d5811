"""What hivemind unpacks is bounded; what it does when callers give up harms nobody."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import msgpack
import pytest
from hivemind.p2p import PeerID
from hivemind.p2p.p2p_daemon_bindings.control import ControlClient
from hivemind.proto import p2pd_pb2
from hivemind.utils.serializer import MSGPackSerializer

from p2pinfer.identity import Identity, peer_id_to_bytes
from p2pinfer.swarm.kademlia.hardening import bounded_loads
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

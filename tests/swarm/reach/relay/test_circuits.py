"""Pairs of streams that are joined, without libp2p: Unix sockets on both sides."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack

import pytest

from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.sources import source_of
from p2pinfer.swarm.membership.daemon import Stream
from p2pinfer.swarm.reach.relay import circuits as circuits_module
from p2pinfer.swarm.reach.relay.circuits import MAX_CIRCUITS_PER_SOURCE, Circuits
from p2pinfer.swarm.reach.relay.framing import close_streams
from p2pinfer.swarm.reach.relay.messages import Status
from p2pinfer.swarm.reach.relay.passed import PassedOn
from p2pinfer.tasks import Nursery
from p2pinfer.types import PeerId
from tests.swarm.reach.relay.conftest import settled

ANN, BOB = PeerId("ann"), PeerId("bob")
HOME = (source_of("192.0.2.7"),)


def at_home(peer: PeerId) -> Guest:
    return Guest(key=peer.encode(), sources=HOME)


async def pair(stack: AsyncExitStack) -> tuple[Stream, Stream]:
    """Both ends of a connection, closed with the test."""
    ends = [await asyncio.open_unix_connection(sock=end) for end in socket.socketpair()]
    for end in ends:
        stack.push_async_callback(close_streams, end)
    return ends[0], ends[1]


async def joined(
    circuits: Circuits, client: PeerId, nursery: Nursery, stack: AsyncExitStack
) -> tuple[Stream, Stream]:
    """The two far ends of a new circuit: the asker's and the target's."""
    asker, near_asker = await pair(stack)
    target, near_target = await pair(stack)

    async def carry() -> None:
        circuit = circuits.take(client, at_home(client))
        try:
            await circuits.join(circuit, near_asker, near_target)
        finally:
            circuits.free(circuit)

    held = len(circuits)
    nursery.start(carry())
    await settled(lambda: len(circuits) > held)
    return asker, target


async def test_clients_share_the_rate_however_many_circuits_each_has() -> None:
    passed = PassedOn()
    circuits = Circuits(passed)
    circuits.set_rate(1_000_000)
    received = {ANN: 0, BOB: 0}

    async def send(stream: Stream) -> None:
        while True:
            stream[1].write(bytes(65536))
            await stream[1].drain()

    async def receive(client: PeerId, stream: Stream) -> None:
        while piece := await stream[0].read(65536):
            received[client] += len(piece)

    async with AsyncExitStack() as stack, Nursery() as nursery:
        for client in (*[ANN] * 7, BOB):
            asker, target = await joined(circuits, client, nursery, stack)
            nursery.start(send(asker))
            nursery.start(receive(client, target))
        await settled(lambda: passed.total_bytes > 4_500_000, 30)  # the burst is over
        before = dict(received)
        await settled(lambda: passed.total_bytes > 6_500_000, 30)
        ann, bob = (received[client] - before[client] for client in (ANN, BOB))

    assert 0.4 < bob / ann < 2.5  # by circuits it would be a seventh


async def test_what_a_side_said_last_arrives_whole_though_it_has_gone() -> None:
    circuits = Circuits(PassedOn())
    async with AsyncExitStack() as stack, Nursery() as nursery:
        asker, target = await joined(circuits, ANN, nursery, stack)
        asker[1].write(b"x" * 500_000)
        await close_streams(asker, flush_seconds=5)
        target[1].write(b"nobody reads this")
        assert await asyncio.wait_for(target[0].read(-1), 30) == b"x" * 500_000
        await settled(lambda: len(circuits) == 0)


async def test_a_full_relay_ends_the_circuit_that_was_idle_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    circuits = Circuits(PassedOn())
    async with AsyncExitStack() as stack, Nursery() as nursery:
        idle, _ = await joined(circuits, ANN, nursery, stack)
        busy, _ = await joined(circuits, PeerId("eve"), nursery, stack)
        assert circuits.refusal(at_home(BOB), 2, 8) is Status.FULL
        monkeypatch.setattr(circuits_module, "EMPTY_SECONDS", 0.05)
        await asyncio.sleep(0.1)
        assert circuits.refusal(at_home(BOB), 3, 8) is None
        assert len(circuits) == 2
        busy[1].write(b"x")
        await settled(lambda: circuits._passed.total_bytes == 1)
        assert circuits.refusal(at_home(BOB), 2, 8) is None
        assert await asyncio.wait_for(idle[0].read(), 30) == b""
        assert len(circuits) == 1


async def test_one_network_has_a_bound_of_its_own() -> None:
    circuits = Circuits(PassedOn())
    peers = [PeerId(f"peer {number}") for number in range(MAX_CIRCUITS_PER_SOURCE)]
    held = [circuits.take(peer, at_home(peer)) for peer in peers]
    assert circuits.refusal(at_home(BOB), 256, 8) is Status.LIMIT
    assert circuits.refusal(Guest(key=b"bob", sources=(source_of("7.0.0.1"),)), 256, 8) is None
    for circuit in held:
        circuits.free(circuit)
        circuits.free(circuit)
    assert circuits.refusal(at_home(BOB), 256, 8) is None
    assert not circuits._turns


async def test_a_crowd_of_clients_makes_room_for_another_network() -> None:
    """Though all its circuits are in use: clients cost nothing."""
    circuits, crowd = Circuits(PassedOn()), []

    async def hold(number: int) -> None:
        peer = PeerId(f"peer {number}")
        crowd.append(circuits.take(peer, at_home(peer)))
        await asyncio.Event().wait()

    async with Nursery() as nursery:
        tasks = [nursery.start(hold(number)) for number in range(4)]
        await settled(lambda: len(crowd) == 4)
        assert circuits.refusal(at_home(BOB), 4, 8) is Status.FULL
        assert circuits.refusal(Guest(key=b"bob", sources=(source_of("7.0.0.1"),)), 4, 8) is None
        assert len(circuits) == 3
        await asyncio.wait({tasks[0]})
        assert tasks[0].cancelled()

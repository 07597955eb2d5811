"""A member finds out how others reach it, and tells of nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from p2pinfer.errors import SwarmError
from p2pinfer.identity import Identity
from p2pinfer.swarm.look_pb2 import LookReply, LookRequest
from p2pinfer.swarm.membership.daemon import Stream
from p2pinfer.swarm.reach import reaching as module
from p2pinfer.swarm.reach.permission import Permission
from p2pinfer.swarm.reach.reaching import Reaching
from p2pinfer.swarm.reach.relay.framing import close_streams, read_message, write_message
from p2pinfer.tasks import Nursery, ending
from p2pinfer.types import PeerId
from tests.swarm.tunnel.wiring import stream_pair

US, DOOR, OTHER = (Identity.ephemeral().peer_id for _ in range(3))
OUTSIDE = "8.8.8.8"
VISIBLE = (f"/ip4/192.168.1.7/tcp/4001/p2p/{US}",)
JOINED = {DOOR: (f"/ip4/8.8.4.4/tcp/4001/p2p/{DOOR}",)}


class Net:
    """A member behind a router that is open at some ports, and the door that looks."""

    def __init__(self) -> None:
        self.peer_id = US
        self.open: set[int] = set()
        self.busy = False
        self.liars: tuple[PeerId, ...] = ()  # who see us elsewhere, where all ports are open
        self.own: Sequence[str] = JOINED[DOOR]
        self.looked_at: list[float] = []
        self.visible: tuple[str, ...] = VISIBLE
        self.answering = Nursery()

    async def open_stream(self, peer_id: PeerId, protocol: str) -> Stream:
        if peer_id not in (DOOR, *self.liars) or not protocol.startswith("/p2pinfer/look/"):
            raise SwarmError("no such peer")
        ours, theirs = await stream_pair()
        self.answering.start(self._lie(theirs) if peer_id in self.liars else self._look(theirs))
        return ours

    async def _look(self, stream: Stream) -> None:
        request = LookRequest.FromString(await read_message(stream[0]))
        self.looked_at.append(asyncio.get_running_loop().time())
        reply = LookReply(observed=[f"/ip4/{OUTSIDE}/tcp/5"], own=self.own)
        for port in () if self.busy else request.ports:
            reply.attempts.add(host=OUTSIDE, port=port, taken=port in self.open)
        await write_message(stream[1], reply.SerializeToString())
        await close_streams(stream, flush_seconds=0.1)

    async def _lie(self, stream: Stream) -> None:
        request = LookRequest.FromString(await read_message(stream[0]))
        reply = LookReply(observed=["/ip4/9.9.9.9/tcp/5"])
        for port in request.ports:
            reply.attempts.add(host="9.9.9.9", port=port, taken=True)
        await write_message(stream[1], reply.SerializeToString())
        await close_streams(stream, flush_seconds=0.1)

    async def connections(self) -> Any:
        return dict.fromkeys((DOOR, *self.liars), (f"/ip4/8.8.4.4/tcp/4001/p2p/{DOOR}",))

    async def connect(self, peer_id: PeerId, maddrs: Any, seconds: float) -> None:
        pass

    async def visible_maddrs(self) -> tuple[str, ...]:
        return self.visible

    def acquaintances(self) -> Any:
        return JOINED | {liar: (f"/ip4/9.9.9.9/tcp/1/p2p/{liar}",) for liar in self.liars}

    async def wait_rejoined(self) -> None:
        await asyncio.Event().wait()


def reaching(net: Net, *, announced: Sequence[str] = (), is_known: bool = False) -> Reaching:
    allowed = Permission(initial=JOINED[DOOR], listen=["/ip4/0.0.0.0/tcp/0"], announce=())
    return Reaching(net, allowed, JOINED, announced=announced, is_known=is_known)  # type: ignore[arg-type]


async def test_behind_a_router_nothing_is_told_and_an_open_port_is() -> None:
    net = Net()
    one = reaching(net)
    assert not await one.first_verdict(net, [DOOR], VISIBLE)
    assert not one.maddrs
    net.open = {4001}
    assert await one.first_verdict(net, [DOOR], VISIBLE)
    assert one.maddrs == (f"/ip4/{OUTSIDE}/tcp/4001/p2p/{US}",)


async def test_while_nobody_looks_who_joined_outside_takes_itself_for_behind_a_router() -> None:
    net = Net()
    net.busy = True
    for lookers in ([], [DOOR], [OTHER]):
        assert not await reaching(net).first_verdict(net, lookers, VISIBLE)
    assert await reaching(net).first_verdict(net, [], (f"/ip4/{OUTSIDE}/tcp/4001/p2p/{US}",))


async def test_strangers_that_lie_do_not_outvote_the_door_through_which_we_joined() -> None:
    """They would have us announce a third party, and give up our places at relays."""
    net = Net()
    net.liars = tuple(Identity.ephemeral().peer_id for _ in range(2))
    one = reaching(net)
    await one.first_verdict(net, [DOOR], VISIBLE)
    await one._look()
    assert not one.verdict.is_dialable
    assert one.verdict.hosts == (OUTSIDE,)
    net.busy = True  # nobody else can say
    await one._look()
    assert one.verdict.hosts == ("9.9.9.9",)


async def test_a_busy_looker_changes_nothing() -> None:
    net = Net()
    net.open = {4001}
    one = reaching(net)
    await one.first_verdict(net, [DOOR], VISIBLE)
    before, net.busy = one.verdict, True
    changed = asyncio.create_task(one.wait_changed())
    await one._look()
    assert one.verdict is before and not changed.done()
    net.busy, net.open = False, set()
    await one._look()
    await asyncio.wait_for(changed, 30)
    assert not one.verdict.is_dialable


async def test_a_port_that_is_offered_is_tried_as_soon_as_the_looker_looks_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Asked earlier, it would say nothing, and the next look is seconds away."""
    monkeypatch.setattr(module, "LOOKED_AGAIN_SECONDS", 0.3)
    net = Net()
    net.open = {4600}
    one = reaching(net)
    await one.first_verdict(net, [DOOR], VISIBLE)
    async with ending(asyncio.create_task(one.run())):
        one.offer(4600)
        async with asyncio.timeout(30):
            await one.wait_changed()
    assert one.verdict.endpoints([4600]) == (f"{OUTSIDE}:4600",)
    first, second = net.looked_at
    assert second - first >= 0.29


@pytest.mark.parametrize("announced", [(), (f"/ip4/{OUTSIDE}/tcp/9/p2p/{US}",)])
async def test_who_needs_no_look_still_learns_which_ports_are_open(announced: tuple[str, ...]) -> None:
    net = Net()
    net.open = {4600}
    one = reaching(net, announced=announced, is_known=True)
    assert await one.first_verdict(net, [], VISIBLE)
    assert one.maddrs == (announced or VISIBLE)
    one.offer(4600)
    await one._look()
    assert one.verdict.is_dialable and one.maddrs == (announced or VISIBLE)
    assert one.verdict.endpoints([4001, 4600]) == (f"{OUTSIDE}:4600",)
    told = asyncio.create_task(one.wait_changed())
    await one._look()
    await asyncio.sleep(0)
    assert not told.done()  # nothing is new
    net.visible = (f"/ip4/192.168.1.8/tcp/4001/p2p/{US}",)
    await one._look()
    if not announced:
        await asyncio.wait_for(told, 30)
        assert one.maddrs == net.visible
    told.cancel()

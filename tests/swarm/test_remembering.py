"""A member joins through those it knew, where no initial peer answers; and only in the same swarm."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

import pytest

from p2pinfer.errors import SwarmUnreachableError
from p2pinfer.identity import Identity
from p2pinfer.price.paying import pay
from p2pinfer.swarm import remembering
from p2pinfer.swarm.coordinates.quantized import ORIGIN, Quantized
from p2pinfer.swarm.membership.arrival import OTHERS_SECONDS
from p2pinfer.swarm.membership.kept_peers import KeptPeers
from p2pinfer.swarm.membership.known_peers import KnownPeer
from p2pinfer.swarm.remembering import join_remembering
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.threads import in_thread
from p2pinfer.types import PeerId
from tests.swarm.conftest import describe, join_here, sees, until
from tests.swarm.coordinates.simulated import seconds_between


def nowhere() -> str:
    """The address of an initial peer that doesn't run."""
    return f"/ip4/127.0.0.1/tcp/9/p2p/{Identity.ephemeral().peer_id}"


async def test_the_initial_peer_is_dead_and_one_that_was_known_is_alive(tmp_path: Path) -> None:
    kept = KeptPeers(tmp_path / "peers.json")
    bob = Identity.ephemeral()
    async with AsyncExitStack() as others:
        async with join_here() as door:
            addresses = door.addresses
            swarm = await others.enter_async_context(join_here(addresses, bob))
            await swarm.announce(describe(bob))
            async with join_remembering(kept, addresses, Identity.ephemeral(), client_only=True) as reader:

                async def has_met_bob() -> bool:
                    return bob.peer_id in reader.remembered.seen

                await until(has_met_bob, 30)
        before = kept.read({door.peer_id})[bob.peer_id]

        with pytest.raises(SwarmUnreachableError):
            async with join_here(addresses, client_only=True):
                pass
        async with join_remembering(kept, addresses, Identity.ephemeral(), client_only=True) as reader:
            assert await sees(reader, bob)
        after = kept.read({door.peer_id})[bob.peer_id]
        assert after.first_seen == pytest.approx(before.first_seen, abs=1e-3)
        assert after.last_seen > before.last_seen

        with pytest.raises(SwarmUnreachableError):  # of another swarm, nobody is known
            async with join_remembering(kept, [nowhere()], Identity.ephemeral(), client_only=True):
                pass


async def test_a_server_that_starts_again_announces_the_same_cell_at_once(tmp_path: Path) -> None:
    kept = KeptPeers(tmp_path / "peers.json")
    identity = Identity.ephemeral()
    here = ("/ip4/127.0.0.1/tcp/0",)
    async with join_here() as door:
        async with join_remembering(kept, door.addresses, identity, listen_maddrs=here) as swarm:
            assert (await swarm.announce(describe(identity))).cell == ORIGIN
            for number in range(60):
                far = Quantized(x=42, y=42 + number % 2, height=0)
                swarm.position.measured(PeerId(f"peer {number % 6}"), far, 0.1)
            cell = swarm.position.announced
            assert seconds_between(cell, ORIGIN) > 0.03
            announcement = await swarm.announce(describe(identity))
            assert announcement.cell == cell
            assert await sees(door, identity)
            await swarm.withdraw(describe(identity))
            assert await sees(door)
        async with join_remembering(kept, door.addresses, identity, listen_maddrs=here) as swarm:
            assert swarm.position.announced == cell
            assert (await swarm.announce(describe(identity))).cell == cell


async def test_where_nobody_answers_the_error_comes_as_soon(tmp_path: Path) -> None:
    kept, address, gone = KeptPeers(tmp_path / "peers.json"), nowhere(), Identity.ephemeral().peer_id
    door = address.rpartition("/p2p/")[2]
    now = time.time()
    dead = KnownPeer(maddrs=("/ip4/127.0.0.1/tcp/9",), first_seen=now, last_seen=now)
    kept.add({door}, {gone: dead})  # type: ignore[arg-type]
    began = time.monotonic()
    with pytest.raises(SwarmUnreachableError, match="no peer of the swarm answers"):
        async with join_remembering(kept, [address], Identity.ephemeral(), client_only=True):
            pass
    assert time.monotonic() - began < 12


async def test_a_spoiled_file_and_dead_peers_disturb_no_join(tmp_path: Path) -> None:
    path = tmp_path / "peers.json"
    path.write_bytes(b"[" * 1000)
    async with join_here() as door:
        async with join_remembering(KeptPeers(path), door.addresses, Identity.ephemeral(), client_only=True):
            pass
        now = time.time()
        gone = KnownPeer(maddrs=("/ip4/127.0.0.1/tcp/9",), first_seen=now, last_seen=now)
        KeptPeers(path).add({door.peer_id}, {Identity.ephemeral().peer_id: gone})
        async with join_remembering(KeptPeers(path), door.addresses, Identity.ephemeral(), client_only=True):
            pass


async def test_who_begins_a_swarm_with_an_identity_of_this_process_keeps_nobody(tmp_path: Path) -> None:
    kept = KeptPeers(tmp_path / "peers.json")
    async with founding(kept, Identity.ephemeral()) as swarm:
        assert swarm.addresses
    assert not kept.path.exists()


def founding(kept: KeptPeers, identity: Identity) -> AbstractAsyncContextManager[Swarm]:
    """Begin a swarm, at any port: after a restart others don't find it where it was."""
    return join_remembering(kept, (), identity, listen_maddrs=("/ip4/127.0.0.1/tcp/0",))


async def test_a_founder_that_restarts_returns_to_its_swarm(tmp_path: Path) -> None:
    """It has another port than before, and the one member that is left keeps its own record only."""
    kept, bob = KeptPeers(tmp_path / "peers.json"), Identity.ephemeral()
    founder = Identity.load_or_create(tmp_path / "identity")
    await pay(founder, lambda _: None)
    async with AsyncExitStack() as others:
        async with founding(kept, founder) as door:
            member = await others.enter_async_context(join_here(door.addresses, bob))
            await member.announce(describe(bob))

            async def has_met_bob() -> bool:
                return bob.peer_id in door.remembered.seen

            await until(has_met_bob, 30)
        assert set(kept.read({founder.peer_id})) == {bob.peer_id}

        async with founding(kept, founder) as door:
            await until(lambda: sees(door, bob), 30)


async def test_a_founder_whose_swarm_is_gone_begins_a_new_one_at_once(tmp_path: Path) -> None:
    kept, founder = KeptPeers(tmp_path / "peers.json"), Identity.load_or_create(tmp_path / "identity")
    await pay(founder, lambda _: None)
    now = time.time()
    gone = {
        Identity.ephemeral().peer_id: KnownPeer(
            maddrs=(f"/ip4/127.0.0.1/tcp/{port}",), first_seen=now, last_seen=now
        )
        for port in range(1, 17)
    }
    kept.add({founder.peer_id}, gone)
    began, bob = time.monotonic(), Identity.ephemeral()
    async with founding(kept, founder) as door, join_here(door.addresses, bob) as member:
        assert time.monotonic() - began < 20
        await member.announce(describe(bob))
        await until(lambda: sees(door, bob), 30)


async def test_a_founder_does_not_wait_long_for_those_that_answer_nothing(tmp_path: Path) -> None:
    """Their ports take connections, and say not a word."""
    kept, founder = KeptPeers(tmp_path / "peers.json"), Identity.load_or_create(tmp_path / "identity")
    await pay(founder, lambda _: None)
    now = time.time()
    async with AsyncExitStack() as stack:
        silent = {}
        for _ in range(16):
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            maddr = f"/ip4/127.0.0.1/tcp/{listener.getsockname()[1]}"
            silent[Identity.ephemeral().peer_id] = KnownPeer(maddrs=(maddr,), first_seen=now, last_seen=now)
        kept.add({founder.peer_id}, silent)
        began = time.monotonic()
        async with founding(kept, founder):
            assert time.monotonic() - began < OTHERS_SECONDS + 15


async def test_a_founder_with_another_identity_begins_another_swarm(tmp_path: Path) -> None:
    kept = KeptPeers(tmp_path / "peers.json")
    one, other = (Identity.load_or_create(tmp_path / name) for name in ("one", "other"))
    for founder in (one, other):
        await pay(founder, lambda _: None)
    async with join_here() as door:
        now = time.time()
        known = KnownPeer(maddrs=(door.addresses[0].partition("/p2p/")[0],), first_seen=now, last_seen=now)
        kept.add({one.peer_id}, {door.peer_id: known})
        async with founding(kept, other) as swarm:
            assert swarm.remembered.peers == {}
        async with founding(kept, one) as swarm:
            assert set(swarm.remembered.peers) == {door.peer_id}


async def test_a_report_knows_and_writes_nothing(tmp_path: Path) -> None:
    path, now = tmp_path / "peers.json", time.time()
    known = KnownPeer(maddrs=("/ip4/192.0.2.7/tcp/9",), first_seen=now, last_seen=now)
    initial, peer = Identity.ephemeral().peer_id, Identity.ephemeral().peer_id
    KeptPeers(path, is_read_only=True).add({initial}, {peer: known})
    assert not path.exists()
    KeptPeers(path).add({initial}, {peer: known})
    assert KeptPeers(path, is_read_only=True).read({initial}) == {peer: known}


class KeptAfar(KeptPeers):
    """On a share that is away: to write there takes until somebody brings it back."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.writes = 0
        self.is_writing, self.is_back = threading.Event(), threading.Event()

    def add(self, *_: object) -> None:
        self.writes += 1
        self.is_writing.set()
        self.is_back.wait(60.0)


async def test_a_file_that_is_away_is_waited_for_by_one_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each minute another one waited, for as long as the program ran."""
    kept = KeptAfar(tmp_path / "peers.json")
    for name in ("_FIRST_SECONDS", "_FILE_SECONDS"):
        monkeypatch.setattr(remembering, name, 0.0)
    async with join_remembering(kept, (), Identity.ephemeral(), listen_maddrs=("/ip4/127.0.0.1/tcp/0",)):
        await in_thread(kept.is_writing.wait)
    kept.is_back.set()
    assert kept.writes == 1

"""A membership that heals itself: p2pd is killed, bootstrap peers die and come back, links go silent."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from contextlib import AsyncExitStack
from pathlib import Path

import psutil
import pytest

from p2pinfer.errors import SwarmError
from p2pinfer.identity import Identity
from p2pinfer.swarm.membership.membership import Remembered
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.swarm.tunnel import dial, expose
from p2pinfer.types import PeerId
from tests.swarm.conftest import MODEL, describe, join_here, lose_p2pd, p2pd_of, until


async def sees(swarm: Swarm, *identities: Identity) -> bool:
    """True if `swarm` reads exactly the records of these."""
    return {server.peer_id for server in await swarm.servers(MODEL)} == {one.peer_id for one in identities}


async def test_a_killed_p2pd_comes_back_where_it_was(caplog: pytest.LogCaptureFixture) -> None:
    """Same addresses, its record can be announced, others see it; three times in a row."""
    server = Identity.ephemeral()
    async with (
        join_here() as first,
        join_here(first.addresses, server) as swarm,
        join_here(first.addresses, client_only=True) as reader,
    ):
        addresses = swarm.addresses
        for _ in range(3):
            back = asyncio.create_task(swarm.wait_rejoined())
            await lose_p2pd(swarm)
            began = time.monotonic()
            with pytest.raises(SwarmError, match="is being restored"):
                await swarm.announce(describe(server))
            with pytest.raises(SwarmError, match="is being restored"):
                await swarm.servers(MODEL)
            assert time.monotonic() - began < 0.2
            await asyncio.wait_for(back, 15)
            assert swarm.addresses == addresses
            stored = await swarm.announce(describe(server))
            assert await reader.servers(MODEL) == [stored]
            assert await first.servers(MODEL) == [stored]
            async with join_here(addresses, client_only=True) as newcomer:
                assert await newcomer.servers(MODEL) == [stored]
    said = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert said == 3 * [
        "p2pd has ended: starting it again",
        "p2pd runs again: the connection to the swarm is restored",
    ]


async def test_every_port_that_the_system_chose_is_kept() -> None:
    """TCP and QUIC, on all networks, with what is asked of routers and relays."""
    async with join_here() as first:
        async with join_here(first.addresses, listen_maddrs=["/ip4/0.0.0.0/tcp/0"]) as swarm:
            addresses = swarm.addresses
            assert any("/quic-v1" in address for address in addresses)
            back = asyncio.create_task(swarm.wait_rejoined())
            await lose_p2pd(swarm)
            await asyncio.wait_for(back, 15)
            assert swarm.addresses == addresses


async def test_what_was_kept_for_others_is_kept_on() -> None:
    """The only replica restarts, and who announced is gone: the record lives as long as it says."""
    server = Identity.ephemeral()
    async with join_here() as keeper:
        async with join_here(keeper.addresses, server, client_only=True) as swarm:
            stored = await swarm.announce(describe(server))
        back = asyncio.create_task(keeper.wait_rejoined())
        await lose_p2pd(keeper)
        await asyncio.wait_for(back, 15)
        assert await keeper.servers(MODEL) == [stored]


async def test_whoever_was_waiting_for_p2pd_hears_at_once_that_it_ended() -> None:
    """A SwarmError, not a cancellation: that would end the caller's own task without a word."""
    async with join_here() as first, join_here(first.addresses) as swarm:
        os.kill(p2pd_of(first), signal.SIGSTOP)
        reading = asyncio.create_task(swarm.servers(MODEL))
        opening = asyncio.create_task(swarm.open_stream(first.peer_id, "/nobody"))
        await asyncio.wait({reading, opening}, timeout=0.3)
        assert not reading.done()
        await lose_p2pd(swarm)
        for waiting in (reading, opening):
            with pytest.raises(SwarmError):
                await asyncio.wait_for(waiting, 2)
        os.kill(p2pd_of(first), signal.SIGKILL)


async def test_stream_handlers_and_tunnels_work_again(tmp_path: Path) -> None:
    """The same socket leads there again, whichever end lost its p2pd; one that broke is closed."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    async def answers() -> bool:
        reader, writer = await asyncio.open_unix_connection(path)
        try:
            writer.write(b"x")
            return await asyncio.wait_for(reader.read(1), 5) == b"x"
        except OSError:
            return False
        finally:
            writer.transport.abort()

    service = await asyncio.start_unix_server(echo, tmp_path / "s.sock")
    async with (
        service,
        join_here() as first,
        join_here(first.addresses) as server,
        join_here(first.addresses, client_only=True) as client,
        expose(server, tmp_path / "s.sock"),
        dial(client, server.peer_id) as path,
    ):
        assert await answers()
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"a")
        assert await reader.readexactly(1) == b"a"
        for swarm in (server, client):
            await lose_p2pd(swarm)
            await until(answers, 20)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        # One that is added while p2pd is away is there when it is back.
        await lose_p2pd(server)
        taken: asyncio.Queue[PeerId] = asyncio.Queue()

        async def take(peer_id: PeerId, stream: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
            taken.put_nowait(peer_id)
            stream[1].close()

        await server.add_stream_handler("/later", take)

        async def opens() -> bool:
            _, writer = await client.open_stream(server.peer_id, "/later")
            writer.close()
            return True

        await until(opens, 20)
        assert await asyncio.wait_for(taken.get(), 5) == client.peer_id


async def test_a_kill_while_it_starts_again_is_survived() -> None:
    """Each new p2pd is killed as soon as it exists, at another moment of its start."""
    process = psutil.Process()
    server = Identity.ephemeral()
    async with join_here() as first:
        others = process.children()
        async with join_here(first.addresses, server) as swarm:
            killed = [child for child in process.children() if child not in others]
            addresses = swarm.addresses
            await lose_p2pd(swarm)
            for delay_seconds in (0.0, 0.05, 0.15):

                async def begins_anew() -> bool:
                    return any(child not in [*others, *killed] for child in process.children())

                await until(begins_anew, 10)
                (new,) = [child for child in process.children() if child not in [*others, *killed]]
                await asyncio.sleep(delay_seconds)
                new.kill()
                killed.append(new)
            await until(lambda: _announced(swarm, server), 20)
            assert swarm.addresses == addresses
            assert await sees(first, server)


async def _announced(swarm: Swarm, identity: Identity) -> bool:
    await swarm.announce(describe(identity))
    return True


@pytest.mark.parametrize("moment_seconds", [0.0, 0.52, 0.6, 0.75, 1.0])
async def test_leaving_while_it_starts_again_is_quick_and_clean(moment_seconds: float) -> None:
    """In the pause before the start, and at moments within: no child, task, descriptor or folder is left."""
    process = psutil.Process()
    children = process.children()
    async with join_here() as warm:
        pass
    tasks, descriptors = len(asyncio.all_tasks()), process.num_fds()
    async with join_here() as swarm:
        folder = swarm.private_folder
        await lose_p2pd(swarm)
        await asyncio.sleep(moment_seconds)
        began = time.monotonic()
    assert time.monotonic() - began < 2.0
    assert process.children() == children
    assert len(asyncio.all_tasks()) == tasks
    assert process.num_fds() <= descriptors
    assert not folder.exists()
    assert not warm.private_folder.exists()


async def test_cancellation_while_it_starts_again_leaves_nothing_behind() -> None:
    lost = asyncio.Event()

    async def stay() -> None:
        async with join_here() as swarm:
            await lose_p2pd(swarm)
            lost.set()
            await asyncio.Event().wait()

    children = psutil.Process().children()
    for moment_seconds in (0.1, 0.55, 0.7):
        lost.clear()
        task = asyncio.create_task(stay())
        await lost.wait()
        await asyncio.sleep(moment_seconds)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()  # as by an impatient caller: leaving goes on all the same
        with pytest.raises(asyncio.CancelledError):
            await task
        assert psutil.Process().children() == children


async def test_a_taken_port_is_given_up_for_another(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Better to be at another address than nowhere, if it was the system that chose the port."""
    monkeypatch.setattr("p2pinfer.swarm.membership.membership._STARTS_AT_OLD_PORTS", 2)
    async with join_here() as first, join_here(first.addresses) as swarm:
        address = swarm.addresses[0]
        port = int(address.split("/")[4])
        back = asyncio.create_task(swarm.wait_rejoined())
        await lose_p2pd(swarm)
        thief = await asyncio.start_server(lambda *_: None, "127.0.0.1", port)
        async with thief:
            await asyncio.wait_for(back, 20)
            assert swarm.addresses[0] != address
        await until(lambda: sees(swarm), 5)
    assert "p2pd doesn't start again yet: can't listen on" in caplog.text


async def test_the_others_live_on_without_the_bootstrap_peer_and_find_it_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It comes back under its identity and port with empty hands, and who joins there sees everybody."""
    monkeypatch.setattr("p2pinfer.swarm.membership.membership._LOOK_SECONDS", 0.5)
    door, bob, carol, dave = (Identity.ephemeral() for _ in range(4))
    async with AsyncExitStack() as others:
        async with join_here(identity=door) as bootstrap:
            addresses = bootstrap.addresses
            swarms = [await others.enter_async_context(join_here(addresses, one)) for one in (bob, carol)]
            for swarm, identity in zip(swarms, (bob, carol), strict=True):
                await swarm.announce(describe(identity))
            os.kill(p2pd_of(bootstrap), signal.SIGKILL)  # nobody is told, as when a machine loses power
        for swarm in swarms:
            assert await sees(swarm, bob, carol)
        newcomer = await others.enter_async_context(join_here(swarms[0].addresses, dave))
        await newcomer.announce(describe(dave))
        for swarm in swarms:
            assert await sees(swarm, bob, carol, dave)

        listen = [addresses[0].partition("/p2p/")[0]]
        async with join_here(identity=door, listen_maddrs=listen) as bootstrap:
            assert bootstrap.addresses == addresses
            seconds = await until(lambda: sees(bootstrap, bob, carol, dave), 40)
            print(f"bootstrap peer found again after {seconds:.1f} s")
            async with join_here(addresses, client_only=True) as reader:
                assert await sees(reader, bob, carol, dave)


async def test_a_peer_that_was_away_for_long_is_found_as_soon_as_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However often it was greeted in vain: libp2p would wait ever longer before it dials again."""
    monkeypatch.setattr("p2pinfer.swarm.membership.membership._LOOK_SECONDS", 0.1)
    monkeypatch.setattr("p2pinfer.swarm.membership.acquaintances.ALONE_SECONDS", 0.2)
    door, bob = Identity.ephemeral(), Identity.ephemeral()
    async with AsyncExitStack() as others:
        async with join_here(identity=door) as bootstrap:
            addresses = bootstrap.addresses
            swarm = await others.enter_async_context(join_here(addresses, bob))
        for _ in range(20):  # each of them a failure, 12 s together
            await swarm.announce(describe(bob))
            await asyncio.sleep(0.6)
        listen = [addresses[0].partition("/p2p/")[0]]
        async with join_here(identity=door, listen_maddrs=listen) as bootstrap:
            assert await until(lambda: sees(bootstrap, bob), 10) < 2.0


@pytest.mark.parametrize("quiet", [True, False])
async def test_a_bootstrap_peer_that_restarts_unnoticed_is_found_again(
    monkeypatch: pytest.MonkeyPatch, quiet: bool
) -> None:
    """Its neighbour still has it in its table; a broken connection, or the next record, gives it away."""
    if quiet:
        monkeypatch.setattr("p2pinfer.swarm.membership.membership._LOOK_SECONDS", 0.2)
        monkeypatch.setattr("p2pinfer.swarm.membership.acquaintances.UNCONNECTED_SECONDS", 2.0)
    else:
        monkeypatch.setattr("p2pinfer.swarm.membership.membership._LOOK_SECONDS", 1000.0)
    door, bob = Identity.ephemeral(), Identity.ephemeral()
    async with AsyncExitStack() as others:
        async with join_here(identity=door) as bootstrap:
            addresses = bootstrap.addresses
            swarm = await others.enter_async_context(join_here(addresses, bob))
            stored = await swarm.announce(describe(bob))
            os.kill(p2pd_of(bootstrap), signal.SIGKILL)
        listen = [addresses[0].partition("/p2p/")[0]]
        async with join_here(identity=door, listen_maddrs=listen) as bootstrap:
            assert door.peer_id in swarm._membership.presence().known()
            if not quiet:
                stored = await swarm.announce(describe(bob))
            async with join_here(addresses, client_only=True) as reader:
                await until(lambda: sees(reader, bob), 10)
                assert await reader.servers(MODEL) == [stored]


async def test_a_client_survives_its_only_initial_peer_and_then_its_own_p2pd() -> None:
    """It remembers who else was there."""
    bob, carol = Identity.ephemeral(), Identity.ephemeral()
    async with AsyncExitStack() as others:
        async with join_here() as bootstrap:
            swarms = [
                await others.enter_async_context(join_here(bootstrap.addresses, one)) for one in (bob, carol)
            ]
            for swarm, identity in zip(swarms, (bob, carol), strict=True):
                await swarm.announce(describe(identity))
            reader = await others.enter_async_context(join_here(bootstrap.addresses, client_only=True))
            assert await sees(reader, bob, carol)
            os.kill(p2pd_of(bootstrap), signal.SIGKILL)
        assert await sees(reader, bob, carol)
        back = asyncio.create_task(reader.wait_rejoined())
        await lose_p2pd(reader)
        await asyncio.wait_for(back, 20)
        assert await sees(reader, bob, carol)


async def test_a_client_that_is_cut_off_says_so_instead_of_that_there_are_no_servers() -> None:
    """Whoever knew servers keeps to them; nobody's silence is an empty swarm."""
    bob = Identity.ephemeral()
    async with AsyncExitStack() as other:
        swarm = await other.enter_async_context(join_here(identity=bob))
        async with join_here(swarm.addresses, client_only=True) as reader:
            await swarm.announce(describe(bob))
            assert await sees(reader, bob)
            await other.aclose()
            for _ in range(2):
                with pytest.raises(SwarmError, match="nobody of the swarm answers"):
                    await reader.servers(MODEL)


async def test_all_p2pds_killed_at_once_find_each_other_again() -> None:
    identities = [Identity.ephemeral() for _ in range(3)]
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(join_here(identity=identities[0]))
        swarms = [first]
        for identity in identities[1:]:
            swarms.append(await stack.enter_async_context(join_here(first.addresses, identity)))
        for swarm in swarms:
            os.kill(p2pd_of(swarm), signal.SIGKILL)

        async def all_are_seen_by_all() -> bool:
            for swarm, identity in zip(swarms, identities, strict=True):
                await swarm.announce(describe(identity))
            return all([await sees(swarm, *identities) for swarm in swarms])

        print(f"all together again after {await until(all_are_seen_by_all, 30):.1f} s")


async def test_a_silence_of_all_others_ends_without_a_restart() -> None:
    """Both sides forget each other while nothing comes through; afterwards they meet again by themselves."""
    identities = [Identity.ephemeral() for _ in range(3)]
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(join_here(identity=identities[0]))
        swarms = [first]
        for identity in identities[1:]:
            swarms.append(await stack.enter_async_context(join_here(first.addresses, identity)))
        for swarm, identity in zip(swarms, identities, strict=True):
            await swarm.announce(describe(identity))
        alone, silent = swarms[2], [p2pd_of(swarm) for swarm in swarms[:2]]
        for process in silent:
            os.kill(process, signal.SIGSTOP)
        try:

            async def has_noticed() -> bool:
                await alone.servers(MODEL)
                return alone._membership._alone

            await until(has_noticed, 40)
            back = asyncio.create_task(alone.wait_rejoined())
        finally:
            for process in silent:
                os.kill(process, signal.SIGCONT)
        began = time.monotonic()
        await asyncio.wait_for(back, 60)
        await alone.announce(describe(identities[2]))
        for swarm in swarms:
            await until(lambda swarm=swarm: sees(swarm, *identities), 60)  # type: ignore[misc]
        print(f"all together again after {time.monotonic() - began:.1f} s")


async def test_a_p2pd_that_hangs_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2pinfer.swarm.membership.membership._LOOK_SECONDS", 0.1)
    monkeypatch.setattr("p2pinfer.swarm.membership.membership._MOST_SILENT_LOOKS", 2)
    monkeypatch.setattr("p2pinfer.swarm.membership.daemon._ANSWER_SECONDS", 0.5)
    server = Identity.ephemeral()
    async with join_here() as first, join_here(first.addresses, server) as swarm:
        addresses = swarm.addresses
        back = asyncio.create_task(swarm.wait_rejoined())
        os.kill(p2pd_of(swarm), signal.SIGSTOP)
        await asyncio.wait_for(back, 20)
        await swarm.announce(describe(server))
        assert await sees(first, server)
        assert swarm.addresses == addresses


async def test_who_began_a_swarm_left_it_and_comes_back_finds_it_where_it_was_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has no initial peers: without its memory it would begin another swarm."""
    monkeypatch.setattr("p2pinfer.swarm.membership.membership._LOOK_SECONDS", 0.5)
    door, bob = Identity.ephemeral(), Identity.ephemeral()
    async with AsyncExitStack() as others:
        async with join_here(identity=door) as first:
            addresses = first.addresses
            swarm = await others.enter_async_context(join_here(addresses, bob))

            async def remembers() -> bool:
                return bob.peer_id in first.remembered.peers

            await until(remembers, 15)
            remembered = first.remembered
        await swarm.announce(describe(bob))
        async with join_here(identity=door, remembered=remembered) as back:
            assert back.addresses == addresses
            await until(lambda: sees(back, bob), 15)


async def test_remembered_peers_that_are_gone_hinder_nobody() -> None:
    gone = Identity.ephemeral().peer_id
    remembered = Remembered({gone: (f"/ip4/127.0.0.1/tcp/9/p2p/{gone}",)})
    async with join_here() as first:
        async with join_here(first.addresses, remembered=remembered) as swarm:
            assert await swarm.servers(MODEL) == []
    async with join_here(remembered=remembered) as swarm:
        assert swarm.addresses

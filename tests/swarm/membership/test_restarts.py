"""p2pd ends, hangs or can't be started: it is started again, and the membership goes on."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from p2pinfer.backoff import Backoff
from p2pinfer.errors import SwarmError
from p2pinfer.identity import Identity
from p2pinfer.swarm.membership.daemon import Daemon
from p2pinfer.swarm.membership.pace import Pace
from p2pinfer.swarm.membership.presence import Presence
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.swarm.tunnel.acceptor import expose
from p2pinfer.types import PeerId
from tests.swarm.conftest import (
    MODEL,
    QUICK,
    describe,
    join_all,
    join_here,
    lose_p2pd,
    p2pd_of,
    rejoining,
    sees,
    until,
)
from tests.swarm.tunnel.wiring import address_of

AT_ONCE = replace(QUICK, restarts=Backoff(first_seconds=0.0, most_seconds=0.0))
PATIENCE_SECONDS = 30.0
QUICKLY_SECONDS = 10.0
"""To leave, on a busy machine. A p2pd that has just been started would be waited for twice as long."""
LATE = replace(QUICK, restarts=Backoff(first_seconds=3600.0, most_seconds=3600.0))


async def test_a_killed_p2pd_comes_back_where_it_was(caplog: pytest.LogCaptureFixture) -> None:
    """Same addresses, its record can be announced, others see it; three times in a row."""
    server = Identity.ephemeral()
    async with (
        join_here() as first,
        join_all(
            join_here(first.addresses, server, pace=QUICK), join_here(first.addresses, client_only=True)
        ) as (swarm, reader),
    ):
        addresses = swarm.addresses
        for _ in range(3):
            async with rejoining(swarm):
                await lose_p2pd(swarm)
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
    async with (
        join_here() as first,
        join_here(first.addresses, listen_maddrs=["/ip4/0.0.0.0/tcp/0"], pace=QUICK) as swarm,
    ):
        addresses = swarm.addresses
        assert any("/quic-v1" in address for address in addresses)
        async with rejoining(swarm):
            await lose_p2pd(swarm)
        assert swarm.addresses == addresses


async def test_what_was_kept_for_others_is_kept_on() -> None:
    """The only replica restarts, and the server that announced is gone: its record lives on."""
    server = Identity.ephemeral()
    async with join_here(pace=QUICK) as replica:
        async with join_here(replica.addresses, server, client_only=True) as swarm:
            stored = await swarm.announce(describe(server))
        async with rejoining(replica):
            await lose_p2pd(replica)
        assert await replica.servers(MODEL) == [stored]


async def test_whoever_asks_while_p2pd_is_away_hears_that_it_is_being_restored() -> None:
    """At once: it comes back in an hour."""
    server = Identity.ephemeral()
    async with join_here() as first, join_here(first.addresses, server, pace=LATE) as swarm:
        await lose_p2pd(swarm)
        async with asyncio.timeout(PATIENCE_SECONDS):
            with pytest.raises(SwarmError, match="is being restored"):
                await swarm.announce(describe(server))
            with pytest.raises(SwarmError, match="is being restored"):
                await swarm.servers(MODEL)


async def stop(process_id: int) -> None:
    """Stop a process, and wait until it stands still: its threads run on for a moment."""
    os.kill(process_id, signal.SIGSTOP)

    async def all_stand() -> bool:
        stats = [thread.read_text() for thread in Path(f"/proc/{process_id}/task").glob("*/stat")]
        return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)

    await until(all_stand, PATIENCE_SECONDS)


async def test_callers_that_wait_for_p2pd_hear_at_once_that_it_ended() -> None:
    """A SwarmError, not a cancellation: that would end the caller's own task silently."""
    async with join_here() as first, join_here(first.addresses, pace=LATE) as swarm:
        await stop(p2pd_of(first))
        reading = asyncio.create_task(swarm.servers(MODEL))
        opening = asyncio.create_task(swarm.open_stream(first.peer_id, "/nobody"))
        await asyncio.wait({reading, opening}, timeout=0.3)
        assert not reading.done()
        await lose_p2pd(swarm)
        for waiting in (reading, opening):
            with pytest.raises(SwarmError):
                await asyncio.wait_for(waiting, PATIENCE_SECONDS)
        os.kill(p2pd_of(first), signal.SIGKILL)


async def test_an_answer_that_p2pd_broke_off_is_an_error_of_the_swarm() -> None:
    """Its sockets fail before its process is seen to have ended: who waits is told, and tries again."""
    async with join_here() as swarm:
        pid = p2pd_of(swarm)
        os.kill(pid, signal.SIGSTOP)

        async def stands_still() -> bool:
            return psutil.Process(pid).status() == psutil.STATUS_STOPPED

        await until(stands_still, PATIENCE_SECONDS)
        asking = asyncio.create_task(swarm.visible_maddrs())
        await asyncio.sleep(0.1)  # it has asked, and there is no answer
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(SwarmError, match="is being restored"):
            await asking


async def test_stream_handlers_and_tunnels_work_again(tmp_path: Path) -> None:
    """The same socket leads there again, whichever end lost its p2pd; an open connection goes on."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    async def answers() -> bool:
        reader, writer = await asyncio.open_unix_connection(path)
        try:
            writer.write(b"x")
            return await asyncio.wait_for(reader.read(1), PATIENCE_SECONDS) == b"x"
        except OSError:
            return False
        finally:
            writer.transport.abort()

    service = await asyncio.start_unix_server(echo, tmp_path / "s.sock")
    async with (
        service,
        join_here() as first,
        join_all(
            join_here(first.addresses, pace=QUICK), join_here(first.addresses, client_only=True, pace=QUICK)
        ) as (server, client),
        expose(server, tmp_path / "s.sock"),
        client.ways.tunnel(address_of(server.peer_id)) as path,
    ):
        assert await answers()
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"a")
        assert await reader.readexactly(1) == b"a"
        for swarm in (server, client):
            # A dial before the server is back would fail, and make libp2p wait for 6 s before the next.
            async with rejoining(swarm):
                await lose_p2pd(swarm)
            await until(answers, PATIENCE_SECONDS)
        writer.write(b"b")
        assert await asyncio.wait_for(reader.readexactly(1), PATIENCE_SECONDS) == b"b"
        writer.close()
        # A handler that is added while p2pd is away works when it is back.
        taken: asyncio.Queue[PeerId] = asyncio.Queue()

        async def take(peer_id: PeerId, stream: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
            taken.put_nowait(peer_id)
            stream[1].close()

        async def opens() -> bool:
            _, writer = await client.open_stream(server.peer_id, "/later")
            writer.close()
            return True

        async with rejoining(server):
            await lose_p2pd(server)
            await server.add_stream_handler("/later", take)
        await until(opens, PATIENCE_SECONDS)
        assert await asyncio.wait_for(taken.get(), PATIENCE_SECONDS) == client.peer_id


async def test_a_kill_while_it_starts_again_is_survived() -> None:
    """Each new p2pd is killed as soon as it exists, at another moment of its start."""
    process = psutil.Process()
    server = Identity.ephemeral()

    async def announces() -> bool:
        await swarm.announce(describe(server))
        return True

    async with join_here() as first:
        others = process.children()
        async with join_here(first.addresses, server, pace=QUICK) as swarm:
            killed = [child for child in process.children() if child not in others]
            addresses = swarm.addresses
            await lose_p2pd(swarm)
            for delay_seconds in (0.0, 0.05, 0.15):

                async def begins_anew() -> bool:
                    return any(child not in [*others, *killed] for child in process.children())

                await until(begins_anew, PATIENCE_SECONDS)
                (new,) = [child for child in process.children() if child not in [*others, *killed]]
                await asyncio.sleep(delay_seconds)
                new.kill()
                killed.append(new)
            await until(announces, PATIENCE_SECONDS)
            assert swarm.addresses == addresses
            assert await sees(first, server)


@pytest.mark.parametrize(
    ("pace", "moment_seconds"),
    [(LATE, 0.0), (AT_ONCE, 0.0), (AT_ONCE, 0.05), (AT_ONCE, 0.2), (AT_ONCE, 0.5)],
    ids=["pausing", "starting", "started", "attaching", "attached"],
)
async def test_leaving_while_it_starts_again_is_quick_and_clean(pace: Pace, moment_seconds: float) -> None:
    """In the pause before the start, and at moments within: no child, task, descriptor or folder is left."""
    process = psutil.Process()
    children = process.children()
    async with join_here() as warm:
        pass
    tasks, descriptors = len(asyncio.all_tasks()), process.num_fds()
    async with join_here(pace=pace) as swarm:
        folder = swarm.private_folder
        await lose_p2pd(swarm)
        await asyncio.sleep(moment_seconds)
        began = time.monotonic()
    assert time.monotonic() - began < QUICKLY_SECONDS
    assert process.children() == children
    assert len(asyncio.all_tasks()) == tasks

    async def closed() -> bool:  # a socket is closed in the loop's next round
        return process.num_fds() <= descriptors

    await until(closed, PATIENCE_SECONDS)
    assert not folder.exists()
    assert not warm.private_folder.exists()


@pytest.mark.parametrize(("pace", "moment_seconds"), [(LATE, 0.0), (AT_ONCE, 0.05), (AT_ONCE, 0.2)])
async def test_cancellation_while_it_starts_again_leaves_nothing_behind(
    pace: Pace, moment_seconds: float
) -> None:
    lost = asyncio.Event()

    async def stay() -> None:
        async with join_here(pace=pace) as swarm:
            await lose_p2pd(swarm)
            lost.set()
            await asyncio.Event().wait()

    children = psutil.Process().children()
    task = asyncio.create_task(stay())
    await lost.wait()
    await asyncio.sleep(moment_seconds)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()  # as by an impatient caller: leaving goes on all the same
    with pytest.raises(asyncio.CancelledError):
        await task
    assert psutil.Process().children() == children


async def test_a_taken_port_is_given_up_for_another(caplog: pytest.LogCaptureFixture) -> None:
    """Another address is better than none, if it was the system that chose the port."""
    pace = replace(QUICK, starts_at_old_ports=2)
    async with join_here() as first, join_here(first.addresses, pace=pace) as swarm:
        address = swarm.addresses[0]
        port = int(address.split("/")[4])
        async with rejoining(swarm):
            await lose_p2pd(swarm)
            thief = await asyncio.start_server(lambda *_: None, "127.0.0.1", port)
            async with thief:
                await until(lambda: has_moved(swarm, address), PATIENCE_SECONDS)
        await until(lambda: sees(swarm), PATIENCE_SECONDS)
    assert "p2pd doesn't start again yet: can't listen on" in caplog.text


async def has_moved(swarm: Swarm, address: str) -> bool:
    return swarm.addresses[0] != address


async def test_a_p2pd_that_hangs_is_replaced() -> None:
    pace = replace(QUICK, most_silent_looks=2, answer_seconds=0.5)
    server = Identity.ephemeral()
    async with join_here() as first, join_here(first.addresses, server, pace=pace) as swarm:
        addresses = swarm.addresses
        async with rejoining(swarm):
            os.kill(p2pd_of(swarm), signal.SIGSTOP)
        await swarm.announce(describe(server))
        assert await sees(first, server)
        assert swarm.addresses == addresses


@pytest.mark.parametrize("name", ["_read_task", "_write_task", "_listen_task"])
async def test_a_member_that_hears_nothing_any_more_starts_its_p2pd_again(name: str) -> None:
    """p2pd lives and answers, but a task of hivemind has ended: nobody heard of the member any more."""
    server = Identity.ephemeral()
    async with join_here() as first, join_here(first.addresses, server, pace=QUICK) as swarm:
        p2p = swarm._membership.presence().daemon.p2p
        async with rejoining(swarm):
            getattr(p2p if name == "_listen_task" else p2p._client.control, name).cancel()
        await swarm.announce(describe(server))
        assert await sees(first, server)


async def test_a_p2pd_that_hangs_at_its_start_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks at it before the member is present: it was waited for without end."""
    begin = Presence.begin

    async def begin_with_one_that_hangs(daemon: Daemon, **options: Any) -> Presence:
        monkeypatch.setattr(Presence, "begin", begin)
        await stop(daemon.process.pid)
        return await begin(daemon, **options)

    async with join_here() as first:
        async with join_here(first.addresses, pace=QUICK, startup_timeout_seconds=1.0) as swarm:
            monkeypatch.setattr(Presence, "begin", begin_with_one_that_hangs)
            async with rejoining(swarm):
                await lose_p2pd(swarm)
            assert await sees(swarm)

"""Joining, announcing, reading and leaving, with real nodes on 127.0.0.1."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from hivemind.p2p import PeerID

from p2pinfer.errors import InvalidRecordError, SwarmError, SwarmUnreachableError, UsageError
from p2pinfer.identity import Identity
from p2pinfer.swarm.membership.daemon import Stream
from p2pinfer.swarm.records.announcement import ServerState
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.types import Span
from tests.swarm.conftest import MODEL, describe, join_all, join_here, node_of


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lone() -> AsyncIterator[Swarm]:
    """A member without company, for tests that change nothing of it."""
    async with join_here() as swarm:
        yield swarm


async def test_what_one_announces_all_others_read() -> None:
    alice, bob = Identity.ephemeral(), Identity.ephemeral()
    async with (
        join_here(identity=alice) as first,
        join_here(first.addresses, bob) as second,
        join_here(second.addresses, client_only=True) as reader,
    ):
        await first.announce(describe(alice, layers=Span(0, 10)))
        await second.announce(describe(bob, layers=Span(10, 30)))

        for swarm in (first, second, reader):
            servers = await swarm.servers(MODEL)
            assert [(server.peer_id, server.layers) for server in servers] == [
                (alice.peer_id, Span(0, 10)),
                (bob.peer_id, Span(10, 30)),
            ]
        assert [listing.model for listing in await reader.models()] == [MODEL]
        assert await reader.servers("cd" * 32) == []


async def test_a_change_and_a_withdrawal_are_seen_at_once() -> None:
    """No cache hides a change: the reader has read the older record just before."""
    server = Identity.ephemeral()
    async with (
        join_here() as bootstrap,
        join_all(
            join_here(bootstrap.addresses, server), join_here(bootstrap.addresses, client_only=True)
        ) as (swarm, reader),
    ):

        async def states() -> list[ServerState]:
            return [announcement.state for announcement in await reader.servers(MODEL)]

        await swarm.announce(describe(server, state=ServerState.JOINING))
        assert await states() == [ServerState.JOINING]
        stored = await swarm.announce(describe(server))
        assert await states() == [ServerState.SERVING]
        # One that is announced with an earlier expiry replaces the stored one all the same.
        await swarm.announce(describe(server, state=ServerState.DRAINING, expires_at=stored.expires_at - 30))
        assert await states() == [ServerState.DRAINING]
        await swarm.withdraw(describe(server))
        assert await states() == []
        assert await reader.models() == []
        await swarm.announce(describe(server))
        assert await states() == [ServerState.SERVING]


async def test_records_outlive_the_death_of_the_first_peer() -> None:
    """A newcomer can join through any peer, and a dead node near the key delays a reader only shortly."""
    identities = [Identity.ephemeral() for _ in range(3)]
    async with AsyncExitStack() as first_life, AsyncExitStack() as others:
        first = await first_life.enter_async_context(join_here())
        joining = join_all(*(join_here(first.addresses, one) for one in identities))
        swarms = await others.enter_async_context(joining)
        for swarm, identity in zip(swarms, identities, strict=True):
            await swarm.announce(describe(identity))
        await first_life.aclose()

        began = time.monotonic()
        async with join_here(swarms[2].addresses, client_only=True) as reader:
            assert len(await reader.servers(MODEL)) == 3
        assert time.monotonic() - began < 15.0


async def test_after_an_outage_the_initial_peers_are_greeted_again() -> None:
    """An outage makes both ends forget each other; without a greeting they would stay apart."""
    server = Identity.ephemeral()
    async with join_here() as first, join_here(first.addresses, server) as swarm:
        for one, other in ((first, swarm), (swarm, first)):
            table = node_of(one).protocol.routing_table
            del table[table.peer_id_to_uid[PeerID.from_base58(other.peer_id)]]

        stored = await swarm.announce(describe(server))

        assert await first.servers(MODEL) == [stored]


async def test_an_address_where_no_peer_answers_is_named() -> None:
    nowhere = f"/ip4/127.0.0.1/tcp/9/p2p/{Identity.ephemeral().peer_id}"

    began = time.monotonic()
    with pytest.raises(SwarmUnreachableError, match=re.escape(nowhere)):
        async with join_here([nowhere], startup_timeout_seconds=60.0):
            pass
    assert time.monotonic() - began < 30.0


@pytest.mark.asyncio(loop_scope="module")
async def test_another_peer_at_the_address_is_not_taken_for_the_one_that_is_named(lone: Swarm) -> None:
    address = lone.addresses[0].replace(lone.peer_id, Identity.ephemeral().peer_id)
    with pytest.raises(SwarmUnreachableError, match="no peer of the swarm answers"):
        async with join_here([address], startup_timeout_seconds=60.0):
            pass


@pytest.mark.parametrize("where", ["initial_peers", "listen_maddrs", "announce_maddrs"])
async def test_a_malformed_address_is_a_usage_error(where: str) -> None:
    with pytest.raises(UsageError, match="isn't a multiaddress"):
        async with join_here(**{where: ["192.0.2.7:31330"]}):
            pass


@pytest.mark.asyncio(loop_scope="module")
async def test_a_taken_port_is_said(lone: Swarm) -> None:
    taken = lone.addresses[0].partition("/p2p/")[0]
    with pytest.raises(SwarmError, match=f"can't listen on {taken}"):
        async with join_here(listen_maddrs=[taken]):
            pass


async def test_the_persistent_identity_is_the_peer_id(tmp_path: Path) -> None:
    identity = Identity.load_or_create(tmp_path / "identity")
    async with join_here(identity=identity) as swarm:
        assert swarm.peer_id == identity.peer_id
        assert swarm.addresses[0].endswith(f"/p2p/{identity.peer_id}")
        with pytest.raises(UsageError, match="in use"):
            async with join_here(identity=Identity.load_or_create(tmp_path / "identity")):
                pass


@pytest.mark.asyncio(loop_scope="module")
async def test_what_may_not_be_announced_is_named(lone: Swarm) -> None:
    own = describe(Identity.ephemeral(), peer_id=lone.peer_id)
    with pytest.raises(InvalidRecordError, match="num_layers"):
        await lone.announce(replace(own, num_layers=10**9))
    with pytest.raises(InvalidRecordError, match="peer_id"):
        await lone.announce(describe(Identity.ephemeral()))
    with pytest.raises(InvalidRecordError, match="model"):
        await lone.servers("no hash")


async def test_a_swarm_that_was_left_says_so() -> None:
    async with join_here() as swarm:
        pass
    for question in (swarm.servers(MODEL), swarm.models()):
        with pytest.raises(SwarmError, match="left"):
            await question


async def test_leaving_leaves_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    """No tasks, file descriptors, child processes or files stay, and asyncio doesn't complain."""
    process = psutil.Process()
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))

    async def live_once() -> None:
        identity = Identity.ephemeral()
        async with join_here() as first, join_here(first.addresses, identity) as second:
            await second.announce(describe(identity))
            await first.servers(MODEL)
            folders.extend([first.private_folder, second.private_folder])

    folders: list[Path] = []
    children = set(process.children())  # other tests' swarms may be alive, and end
    await live_once()
    tasks, descriptors = len(asyncio.all_tasks()), process.num_fds()
    for _ in range(2):
        await live_once()

    assert len(asyncio.all_tasks()) <= tasks
    assert process.num_fds() <= descriptors
    assert set(process.children()) <= children
    assert not any(folder.exists() for folder in folders)
    assert complaints == []
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


async def test_the_folder_of_a_killed_process_is_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds only dead sockets. The folder of a process that lives is left alone."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("p2pinfer.swarm.membership.socket_folder._ABANDONED_SECONDS", -1.0)
    abandoned = tmp_path / "p2pinfer-swarm-old"
    abandoned.mkdir()
    async with join_here() as first, join_here() as second:
        assert not abandoned.exists()
        assert first.private_folder.exists()
        assert second.private_folder.exists()


async def test_leaving_waits_for_no_stream_of_another_peer() -> None:
    """Since Python 3.12.1 a server of asyncio ends only when all its connections have."""
    opened, forever = asyncio.Event(), asyncio.Event()

    async def keep_open(_: object, stream: Stream) -> None:
        opened.set()
        try:
            await forever.wait()
        finally:
            stream[1].close()

    async with join_here() as other:
        async with join_here(other.addresses) as swarm:
            await swarm.add_stream_handler("/test/1", keep_open)
            _, writer = await other.open_stream(swarm.peer_id, "/test/1")
            await asyncio.wait_for(opened.wait(), 30)
            leaving = time.monotonic()
        assert time.monotonic() - leaving < 20
        writer.close()
    forever.set()
    await asyncio.sleep(0)


async def test_leaving_works_when_the_block_fails_or_is_cancelled() -> None:
    with pytest.raises(ZeroDivisionError):
        async with join_here():
            raise ZeroDivisionError
    joined = asyncio.Event()

    async def stay() -> None:
        async with join_here():
            joined.set()
            await asyncio.Event().wait()

    children = psutil.Process().children()
    task = asyncio.create_task(stay())
    await joined.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    joining = asyncio.create_task(stay())
    await asyncio.sleep(0)
    joining.cancel()
    with pytest.raises(asyncio.CancelledError):
        await joining
    assert psutil.Process().children() == children


async def test_p2pd_ends_with_a_process_that_is_killed() -> None:
    program = (
        "import asyncio\n"
        "from p2pinfer.swarm.swarm import Swarm\n"
        "from p2pinfer.identity import Identity\n"
        "async def main():\n"
        "    async with Swarm.join([], Identity.ephemeral(), listen_maddrs=['/ip4/127.0.0.1/tcp/0']):\n"
        "        print('joined', flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    assert await parent.stdout.readline() == b"joined\n"
    (child,) = psutil.Process(parent.pid).children()
    assert "p2pd" in child.name()

    os.kill(parent.pid, signal.SIGKILL)
    await parent.wait()

    await asyncio.to_thread(child.wait, 10)  # raises if it lives on


def test_swarm_is_the_type_that_join_gives() -> None:
    """`join` is a context manager: `async with Swarm.join(...) as swarm`."""
    assert hasattr(Swarm.join([], Identity.ephemeral()), "__aenter__")


async def test_two_members_with_one_identity_notice_each_other(tmp_path: Path) -> None:
    """A copied key file: each reads a record of its own that it hasn't made."""
    first = Identity.load_or_create(tmp_path / "first.key")
    shutil.copyfile(tmp_path / "first.key", tmp_path / "copy.key")
    copy = Identity.load_or_create(tmp_path / "copy.key")
    async with join_here() as door, join_here(door.addresses, first) as one:
        await one.announce(describe(first))
        assert not await one.has_twin()
        async with join_here(door.addresses, copy) as other:
            assert not await other.has_twin()  # the record that is there is older than this member
            await other.announce(describe(copy))
            assert await one.has_twin()
            await one.announce(describe(first))
            assert await other.has_twin()


async def test_a_member_that_comes_back_is_not_its_own_twin(tmp_path: Path) -> None:
    identity = Identity.load_or_create(tmp_path / "key")
    async with join_here() as door:
        async with join_here(door.addresses, identity) as before:
            await before.announce(describe(identity))
        async with join_here(door.addresses, identity) as again:
            assert not await again.has_twin()
            await again.announce(describe(identity))
            assert not await again.has_twin()


async def test_an_address_with_our_own_identity_is_named(tmp_path: Path) -> None:
    identity = Identity.ephemeral()
    with pytest.raises(UsageError, match="has this program's own identity"):
        async with join_here([f"/ip4/192.0.2.7/tcp/31330/p2p/{identity.peer_id}"], identity):
            pass

"""`python -m p2pinfer.swarm` as its owner sees it."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

import psutil
import pytest

from p2pinfer.identity import Identity
from p2pinfer.swarm.__main__ import BootstrapConfig, _relay_words, main
from p2pinfer.swarm.membership.kept_peers import KeptPeers
from p2pinfer.swarm.membership.known_peers import KnownPeer
from p2pinfer.swarm.reach.relay.asking import connect_through, on_relayed, reserve
from p2pinfer.swarm.reach.relay.framing import close_streams
from p2pinfer.types import PeerId
from tests.swarm.conftest import join_all, join_here, until
from tests.swarm.reach.relay.conftest import echo


async def start(*flags: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "p2pinfer.swarm",
        *flags,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_the_first_start_says_that_it_pays_and_the_next_one_has_paid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("P2PINFER_PRICE_BITS", "2")
    flags = ("--listen", "/ip4/127.0.0.1/tcp/0", "--identity", str(tmp_path / "identity"))
    said = []
    for _ in range(2):
        process = await start(*flags)
        assert process.stdout is not None
        while not (line := (await process.stdout.readline()).decode()).startswith("ready:"):
            said.append(line.partition(":")[0])
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0

    assert said == ["making this machine's identity", *["join this swarm", "relays"] * 2]


async def test_after_a_restart_it_says_that_nobody_it_knew_is_there_and_is_ready(tmp_path: Path) -> None:
    founder, now = Identity.load_or_create(tmp_path / "identity").peer_id, time.time()
    gone = KnownPeer(maddrs=("/ip4/127.0.0.1/tcp/9",), first_seen=now, last_seen=now)
    KeptPeers(tmp_path / "identity.peers").add({founder}, {Identity.ephemeral().peer_id: gone})
    process = await start("--listen", "/ip4/127.0.0.1/tcp/0", "--identity", str(tmp_path / "identity"))
    assert process.stdout is not None
    said = [(await process.stdout.readline()).decode()]
    while not said[-1].startswith("ready:"):
        said.append((await process.stdout.readline()).decode())
    process.terminate()
    await process.communicate()

    assert process.returncode == 0
    assert said[-2].startswith("no answer yet from the one member known from before: it is asked")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_prints_how_to_join_and_leaves_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    flags = ("--listen", "/ip4/127.0.0.1/tcp/0", "--identity", str(tmp_path / "identity"))
    process = await start(*flags)
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    match = re.fullmatch(
        r"join this swarm: --initial-peers (/ip4/127.0.0.1/tcp/\d+/p2p/(12D3Koo\w+))\n", line
    )
    assert match is not None, line
    assert match[2] == Identity.load_or_create(tmp_path / "identity").peer_id
    async with join_here([match[1]]) as swarm:
        assert swarm.addresses
    children = psutil.Process(process.pid).children()

    process.send_signal(number)
    output, errors = await process.communicate()

    assert process.returncode == 0
    assert re.fullmatch(rb"relays: [^\n]+\nready: bootstrap peer .{6,12}, Ctrl-C to leave\n", output)
    assert errors == b""
    assert [child for child in children if child.is_running()] == []


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((), "as much as members ask for (--relay-mbit)"),
        (("--no-relay",), "nothing"),
        (("--relay-mbit", "2.5"), "at most 2.5 Mbit/s"),
        (("--relay-mbit", "10", "--relay-gb-per-month", "500"), "at most 10 Mbit/s and 500 GB a month"),
    ],
)
def test_it_says_what_it_relays(flags: tuple[str, ...], words: str) -> None:
    assert _relay_words(BootstrapConfig.from_args(flags)) == words


async def test_it_relays_and_remembers_how_much(tmp_path: Path) -> None:
    flags = ("--identity", str(tmp_path / "identity"), "--relay-gb-per-month", "1")
    process = await start("--listen", "/ip4/127.0.0.1/tcp/0", *flags)
    assert process.stdout is not None
    address = (await process.stdout.readline()).decode().split()[-1]
    relay = PeerId(address.rpartition("/p2p/")[2])

    async with join_all(*[join_here([address], client_only=True) for _ in range(2)]) as (server, client):

        async def reserved() -> bool:
            await stack.enter_async_context(reserve(server, relay))
            return True

        async with AsyncExitStack() as stack:
            relayed = on_relayed(
                server, lambda asker, stream, _: echo(asker, stream), lambda peer_id: peer_id == relay
            )
            await stack.enter_async_context(relayed)
            await until(reserved, 30)
            reader, writer = stream = await connect_through(client, relay, server.peer_id)
            writer.write(bytes(5000))
            assert await asyncio.wait_for(reader.readexactly(5000), 30) == bytes(5000)
            await close_streams(stream)

    process.terminate()
    await process.communicate()
    assert process.returncode == 0
    assert json.loads((tmp_path / "identity.relayed").read_text())["relayed_bytes"] == 10_000


def has_namespaces() -> bool:
    done = subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.skipif(shutil.which("unshare") is None or not has_namespaces(), reason="needs unshare -n")
def test_without_any_network_it_says_so() -> None:
    command = ["unshare", "-n", sys.executable, "-m", "p2pinfer.swarm"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 1
    assert done.stderr.startswith("p2pinfer.swarm: this machine has no network address")
    assert len(done.stderr.splitlines()) == 1


async def test_a_lost_p2pd_is_started_again_at_the_same_address() -> None:
    process = await start("--listen", "/ip4/127.0.0.1/tcp/0")
    assert process.stdout is not None
    address = (await process.stdout.readline()).decode().split()[-1]
    async with join_here([address]):
        pass
    for child in psutil.Process(process.pid).children():
        child.kill()

    async def can_be_joined() -> bool:
        async with join_here([address], startup_timeout_seconds=2.0):
            return True

    await until(can_be_joined, 30)
    process.terminate()
    _, errors = await process.communicate()

    assert process.returncode == 0
    assert [line.partition(" ")[2] for line in errors.decode().splitlines()] == [  # the time stands before it
        "p2pd has ended: starting it again",
        "p2pd runs again: the connection to the swarm is restored",
    ]


def test_errors_are_one_clear_line(capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = f"/ip4/127.0.0.1/tcp/9/p2p/{Identity.ephemeral().peer_id}"

    assert main(["--initial-peers", nowhere, "--listen", "/ip4/127.0.0.1/tcp/0"]) == 1
    errors = capsys.readouterr().err
    assert errors.startswith(f"p2pinfer.swarm: no peer of the swarm answers at {nowhere}")
    assert errors.count("\n") == 1

    with pytest.raises(SystemExit) as ended:
        main(["--initial-peers", "192.0.2.7:1"])
    assert ended.value.code == 2
    wrong, hint = capsys.readouterr().err.splitlines()
    assert "'192.0.2.7:1' isn't a peer's address" in wrong
    assert hint == "Try: python -m p2pinfer.swarm --help"


def test_the_help_is_a_page(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])

    assert ended.value.code == 0
    page = capsys.readouterr().out
    assert "bootstrap peer" in page
    for flag in ("--initial-peers", "--listen", "--announce", "--identity", "--no-relay", "--relay-mbit"):
        assert flag in page

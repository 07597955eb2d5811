"""p2pd, the libp2p process of hivemind: this file starts it, asks it and ends it.

hivemind's own launcher has no private folder for its sockets and can't say what went wrong. This one starts
the same binary with the same flags and attaches hivemind's P2P to it. p2pd ends by itself when its control
connection closes, so it doesn't outlive this process even after SIGKILL (tried). If p2pd ends early,
membership.py starts it again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hivemind.hivemind_cli
from hivemind.p2p import P2P
from hivemind.p2p.p2p_daemon_bindings.control import DEFAULT_MAX_MSG_SIZE
from hivemind.p2p.p2p_daemon_bindings.utils import ControlFailure, read_pbmsg_safe, write_pbmsg
from hivemind.proto import p2pd_pb2
from hivemind.utils.multiaddr import Multiaddr
from hivemind.utils.multiaddr.exceptions import Error as MultiaddrError

from p2pinfer.errors import SwarmError, SwarmUnreachableError
from p2pinfer.identity import Identity, peer_id_from_bytes, peer_id_to_bytes
from p2pinfer.plain_text import foreign
from p2pinfer.swarm.addresses import why_not_bound
from p2pinfer.swarm.kademlia.hardening import current_owner
from p2pinfer.swarm.membership.free_ports import with_free_ports
from p2pinfer.tasks import undisturbed
from p2pinfer.types import PeerId, short_id

_logger = logging.getLogger(__name__)
_DIAL_SECONDS = 10.0
_END_SECONDS = 1.0

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonConfig:
    """The settings of a p2pd process."""

    initial_peers: tuple[str, ...]
    listen_maddrs: tuple[str, ...]  # empty: it dials, but can't be dialled
    announce_maddrs: tuple[str, ...]
    client_only: bool
    map_ports: bool  # ask the router to open a port (UPnP, NAT-PMP)
    startup_timeout_seconds: float


class Daemon:
    """A running p2pd and hivemind's connection to it."""

    def __init__(self, process: asyncio.subprocess.Process, p2p: P2P, answer_seconds: float) -> None:
        """`answer_seconds` is how long p2pd may take for a question that needs no network."""
        self.process = process
        self.p2p = p2p
        self._answer_seconds = answer_seconds

    @property
    def running(self) -> bool:
        """False once the process has ended."""
        return self.process.returncode is None

    async def wait_unheard(self) -> None:
        """Wait until what connects us with p2pd has ended, though p2pd may run on.

        Then no question of others, no answer or no stream comes any more. Raises SwarmError if p2pd goes on.
        """
        control = self.p2p._client.control
        links = {control._read_task, control._write_task, self.p2p._listen_task}
        await asyncio.wait(links, return_when=asyncio.FIRST_COMPLETED)
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_SECONDS):  # mostly it has ended, and that is seen a moment later
                await self.process.wait()
                return
        raise SwarmError("p2pd isn't heard any more")

    async def open_stream(self, peer_id: PeerId, protocol: str) -> Stream:
        """Open a libp2p stream. Raises SwarmError if the peer isn't reachable or doesn't speak `protocol`."""
        request = p2pd_pb2.Request(
            type=p2pd_pb2.Request.STREAM_OPEN,
            streamOpen=p2pd_pb2.StreamOpenRequest(peer=peer_id_to_bytes(peer_id), proto=[protocol]),
        )
        stream, _ = await self._ask(request, _DIAL_SECONDS, f"no libp2p stream to peer {short_id(peer_id)}")
        return stream

    async def connect(self, peer_id: PeerId, maddrs: Collection[str], timeout_seconds: float) -> None:
        """Connect to a peer at one of `maddrs`, unless it is connected. Raises SwarmError if that fails."""
        request = p2pd_pb2.Request(
            type=p2pd_pb2.Request.CONNECT,
            connect=p2pd_pb2.ConnectRequest(
                peer=peer_id_to_bytes(peer_id), addrs=[Multiaddr(maddr).to_bytes() for maddr in maddrs]
            ),
        )
        (_, writer), _ = await self._ask(
            request, timeout_seconds, f"no connection to peer {short_id(peer_id)}"
        )
        writer.close()

    async def disconnect(self, peer_id: PeerId) -> None:
        """Close all connections with a peer. Raises SwarmError if p2pd doesn't do it."""
        request = p2pd_pb2.Request(
            type=p2pd_pb2.Request.DISCONNECT,
            disconnect=p2pd_pb2.DisconnectRequest(peer=peer_id_to_bytes(peer_id)),
        )
        failure = f"the connection to peer {short_id(peer_id)} can't be closed"
        (_, writer), _ = await self._ask(request, self._answer_seconds, failure)
        writer.close()

    async def connections(self) -> list[tuple[PeerId, str]]:
        """The peer and the multiaddress of every connection.

        If the peer dialled us, its address is usually the one where it listens: p2pd dials from its own port.
        Raises SwarmError if p2pd doesn't answer.
        """
        request = p2pd_pb2.Request(type=p2pd_pb2.Request.LIST_PEERS)
        failure = "p2pd doesn't say which peers are connected"
        (_, writer), response = await self._ask(request, self._answer_seconds, failure)
        writer.close()
        found: list[tuple[PeerId, str]] = []
        for peer in response.peers:
            # ValueError: not an Ed25519 peer, so it isn't one of ours. MultiaddrError: an unknown transport.
            with suppress(ValueError, MultiaddrError):
                peer_id = peer_id_from_bytes(peer.id)
                found.extend((peer_id, str(Multiaddr(raw))) for raw in peer.addrs)
        return found

    async def visible_maddrs(self) -> tuple[str, ...]:
        """The full multiaddresses of this peer, as p2pd knows them now. Raises SwarmError if there is none.

        Those that a router opens for it come some seconds after its start.
        """
        try:
            return tuple(map(str, await self.p2p.get_visible_maddrs(latest=True)))
        except ValueError as error:
            raise SwarmError(
                "this machine has no network address where others could find it: is it offline? Listen on "
                "127.0.0.1 to serve this machine only"
            ) from error

    async def _ask(self, request: p2pd_pb2.Request, seconds: float, failure: str) -> tuple[Stream, Any]:
        """Send a request to p2pd on a new connection, and read its response.

        Unlike hivemind's own, this closes the connection if the request fails.
        """
        try:
            stream = await self.p2p._client.control.daemon_connector.open_connection()
        except OSError as error:
            raise SwarmError(f"{failure}: p2pd has ended") from error
        reader, writer = stream
        try:
            async with asyncio.timeout(seconds):
                await write_pbmsg(writer, request)
                response = p2pd_pb2.Response()
                await read_pbmsg_safe(reader, response)
            if response.type == p2pd_pb2.Response.ERROR:
                raise SwarmError(f"{failure}: {foreign(response.error.msg)}")
        except BaseException as error:
            writer.close()
            if isinstance(error, TimeoutError | OSError | asyncio.IncompleteReadError):
                raise SwarmError(f"{failure}: {foreign(repr(error))}") from error
            raise
        return stream, response


@asynccontextmanager
async def run_daemon(
    identity: Identity,
    config: DaemonConfig,
    private_folder: Path,
    *,
    answer_seconds: float,
    stop_seconds: float,
) -> AsyncIterator[Daemon]:
    """Run p2pd until the block ends, with its sockets inside `private_folder`.

    At the end p2pd has `stop_seconds` to exit after SIGTERM, then it is killed.
    Raises SwarmError if p2pd doesn't start.
    """
    _check_ports_free(config.listen_maddrs)
    folder = Path(tempfile.mkdtemp(prefix="p2pd-", dir=private_folder))
    process: asyncio.subprocess.Process | None = None
    reader: asyncio.Task[None] | None = None
    p2p: P2P | None = None
    try:
        control = Multiaddr(f"/unix{folder}/control.sock")
        key_file = folder / "identity"
        _write_secret(key_file, identity.to_bytes())
        process = await _launch(control, key_file, config, with_free_ports(config.listen_maddrs))
        ready: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        reader = asyncio.create_task(_read_output(process, ready))
        failure = await _wait_ready(ready, config)
        if failure is not None:
            raise failure
        key_file.unlink()
        try:
            async with asyncio.timeout(config.startup_timeout_seconds):
                p2p = await _attach(control, folder)
        except TimeoutError as error:
            raise SwarmError("p2pd hangs at its start") from error
        except (OSError, EOFError, ControlFailure) as error:
            raise SwarmError(f"p2pd ended at its start: {foreign(repr(error))}") from error
        if str(p2p.peer_id) != identity.peer_id:
            raise SwarmError(f"p2pd runs as {p2p.peer_id} instead of {identity.peer_id}")
        yield Daemon(process, p2p, answer_seconds)
    finally:
        await undisturbed(asyncio.create_task(_end(p2p, process, reader, stop_seconds)))
        shutil.rmtree(folder, ignore_errors=True)


async def _end(
    p2p: P2P | None,
    process: asyncio.subprocess.Process | None,
    reader: asyncio.Task[None] | None,
    stop_seconds: float,
) -> None:
    if p2p is not None:
        await p2p.shutdown()
    if (owner := current_owner.get()) is not None:
        await owner.close()  # hivemind cancels its tasks, but doesn't wait for their end
    if process is not None:
        await _stop(process, stop_seconds)
    if reader is not None:
        await reader


def _check_ports_free(listen_maddrs: Sequence[str]) -> None:
    """Raise SwarmError if a port is taken, or an address isn't this machine's.

    p2pd itself would share a TCP port with another p2pd (SO_REUSEPORT), and each would get half of the
    connections.
    """
    for maddr in listen_maddrs:
        words = maddr.split("/")
        if len(words) < 5 or words[1] not in ("ip4", "ip6") or words[3] != "tcp":
            continue
        host, port = words[2], int(words[4])
        try:
            with socket.socket(
                socket.AF_INET if words[1] == "ip4" else socket.AF_INET6, socket.SOCK_STREAM
            ) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
        except OSError as error:
            raise SwarmError(f"can't listen on {maddr}: {why_not_bound(error, host, port)}") from error


async def _launch(
    control: Multiaddr, key_file: Path, config: DaemonConfig, listen_maddrs: Sequence[str]
) -> asyncio.subprocess.Process:
    binary = Path(hivemind.hivemind_cli.__file__).with_name("p2pd")
    flags = {
        "listen": control,
        "id": key_file,
        "idleTimeout": f"{config.startup_timeout_seconds + 15:.0f}s",  # if nothing connects to it
        "persistentConnMaxMsgSize": DEFAULT_MAX_MSG_SIZE,
        "dhtClient" if config.client_only else "dhtServer": 1,
        "b": 0,  # p2pd would dial initial peers one after the other, and wait for each that is silent
        "tls": 1,
        "connManager": 1,
        # Relays and holes in routers are ours (swarm/reach/): p2pd's own wait for minutes and for many peers,
        # and what it relays for others its owner can neither see nor stop.
        "relay": 0,
        "autonat": 0,
        "natPortMap": int(config.map_ports),
    }
    if config.announce_maddrs:
        flags["announceAddrs"] = ",".join(config.announce_maddrs)
    if listen_maddrs:
        flags["hostAddrs"] = ",".join(listen_maddrs)
    else:
        flags["noListenAddrs"] = 1
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GOLOG_")}
    environment["GOLOG_LOG_LEVEL"] = "error"
    try:
        return await asyncio.create_subprocess_exec(
            binary,
            *(f"-{name}={value}" for name, value in flags.items()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # Ctrl-C is for this process: it withdraws its records, then ends p2pd
        )
    except OSError as error:
        raise SwarmError(
            f"{binary} can't be started ({error.strerror}): reinstall hivemind 1.1.12 for this machine"
        ) from error


async def _read_output(process: asyncio.subprocess.Process, ready: asyncio.Future[str | None]) -> None:
    """Log what p2pd prints. `ready` becomes None once p2pd runs, or its last line if it ends first."""
    assert process.stdout is not None
    last_line = "no reason given"
    while True:
        try:
            line = (await process.stdout.readline()).decode(errors="replace")
        except ValueError:  # longer than the reader's limit
            continue
        if not line:
            break
        if line.strip():
            last_line = line.strip()
            _logger.debug("p2pd: %s", last_line)
        if line.startswith("Peer ID:") and not ready.done():
            ready.set_result(None)
    await process.wait()
    if not ready.done():
        ready.set_result(last_line)


async def _wait_ready(ready: asyncio.Future[str | None], config: DaemonConfig) -> SwarmError | None:
    try:
        async with asyncio.timeout(config.startup_timeout_seconds):
            last_line = await asyncio.shield(ready)
    except TimeoutError:
        return SwarmError(f"p2pd didn't start within {config.startup_timeout_seconds:g} s")
    if last_line is None:
        return None
    if "listen" in last_line:
        listen = ", ".join(config.listen_maddrs)
        return SwarmError(
            f"can't listen on {listen}: is the port taken, or the address not this machine's? "
            f"({foreign(last_line)})"
        )
    return SwarmError(f"p2pd ended at its start: {foreign(last_line)}")


def unreachable(initial_peers: Sequence[str]) -> SwarmUnreachableError:
    """The error that names the addresses where no peer answered."""
    return SwarmUnreachableError(
        f"no peer of the swarm answers at {', '.join(initial_peers)}: is one of them running, "
        "is the address complete and current, does a firewall block it?"
    )


async def _attach(control: Multiaddr, folder: Path) -> P2P:
    class PrivateP2P(P2P):  # type: ignore[misc]  # hivemind is untyped
        """hivemind's P2P with its sockets in our folder instead of /tmp."""

        _UNIX_SOCKET_PREFIX = f"/unix{folder}/"

    p2p = await PrivateP2P.replicate(control)
    p2p._start_listening()  # for streams, before anybody can open one
    return p2p


async def _stop(process: asyncio.subprocess.Process, stop_seconds: float) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is None:
            with suppress(ProcessLookupError):
                # Not process.send_signal: it reaps a child that just ended, and asyncio warns about that.
                os.kill(process.pid, number)
        with suppress(TimeoutError):
            async with asyncio.timeout(stop_seconds):
                await process.wait()
                return


def _write_secret(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)

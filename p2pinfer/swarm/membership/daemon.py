"""p2pd, the libp2p of hivemind: started, watched and ended here.

hivemind's own launcher keeps no private folder for its sockets and can't say what went wrong. This one starts
the same binary with the same flags and attaches hivemind's P2P to it. p2pd ends by itself when its control
connection closes, so it doesn't outlive this process, even if that is killed (tried: SIGKILL). When p2pd ends
before the block does, it isn't started again here: see membership.py.
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
from p2pinfer.swarm.kademlia.hardening import current_owner
from p2pinfer.tasks import undisturbed
from p2pinfer.types import PeerId, short_id

_logger = logging.getLogger(__name__)
_STOP_SECONDS = 3.0
_DIAL_SECONDS = 10.0
_ANSWER_SECONDS = 5.0  # of p2pd itself, to a question that needs no network

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonConfig:
    """What p2pd is told at its start."""

    initial_peers: tuple[str, ...]
    bootstrap: bool  # connect to the initial peers at the start, and fail if none of them answers
    listen_maddrs: tuple[str, ...]  # none: dial only
    announce_maddrs: tuple[str, ...]
    client_only: bool
    use_relays: bool  # be found through others when no port can be opened
    startup_timeout_seconds: float


class Daemon:
    """A running p2pd and hivemind's connection to it."""

    def __init__(self, process: asyncio.subprocess.Process, p2p: P2P) -> None:
        self.process = process
        self.p2p = p2p

    @property
    def running(self) -> bool:
        return self.process.returncode is None

    async def open_stream(self, peer_id: PeerId, protocol: str) -> Stream:
        """Open a libp2p stream.

        Raises SwarmError if the peer can't be reached or doesn't speak `protocol`.
        """
        request = p2pd_pb2.Request(
            type=p2pd_pb2.Request.STREAM_OPEN,
            streamOpen=p2pd_pb2.StreamOpenRequest(peer=peer_id_to_bytes(peer_id), proto=[protocol]),
        )
        stream, _ = await self._ask(request, _DIAL_SECONDS, f"no libp2p stream to peer {short_id(peer_id)}")
        return stream

    async def connect(self, peer_id: PeerId, maddrs: Collection[str], timeout_seconds: float) -> None:
        """Be connected to a peer that may be at one of `maddrs`. Raises SwarmError if that fails."""
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

    async def connections(self) -> list[tuple[PeerId, str]]:
        """Who is connected now, and where: peer and multiaddress, one per connection.

        The address of one that dialled us is usually that on which it listens: p2pd dials from its own port.
        Raises SwarmError if p2pd doesn't say.
        """
        request = p2pd_pb2.Request(type=p2pd_pb2.Request.LIST_PEERS)
        (_, writer), response = await self._ask(request, _ANSWER_SECONDS, "p2pd doesn't say who is connected")
        writer.close()
        found: list[tuple[PeerId, str]] = []
        for peer in response.peers:
            with suppress(
                ValueError, MultiaddrError
            ):  # not an Ed25519 peer, none of ours; or at a strange place
                peer_id = peer_id_from_bytes(peer.id)
                found.extend((peer_id, str(Multiaddr(raw))) for raw in peer.addrs)
        return found

    async def _ask(self, request: p2pd_pb2.Request, seconds: float, failure: str) -> tuple[Stream, Any]:
        """Put a request to p2pd on a connection of its own. Unlike hivemind's, closes it if that fails."""
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
                raise SwarmError(f"{failure}: {response.error.msg}")
        except BaseException as error:
            writer.close()
            if isinstance(error, TimeoutError | OSError | asyncio.IncompleteReadError):
                raise SwarmError(f"{failure}: {error!r}") from error
            raise
        return stream, response


@asynccontextmanager
async def run_daemon(identity: Identity, config: DaemonConfig, private_folder: Path) -> AsyncIterator[Daemon]:
    """Run p2pd for as long as the block lasts, with its sockets inside `private_folder`.

    Raises SwarmUnreachableError if none of the initial peers answers, SwarmError if p2pd doesn't start.
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
        process = await _launch(control, key_file, config)
        ready: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        reader = asyncio.create_task(_read_output(process, ready))
        failure = await _wait_ready(ready, config)
        if failure is not None:
            raise failure
        key_file.unlink()
        try:
            p2p = await _attach(control, folder)
        except (OSError, EOFError, ControlFailure) as error:
            raise SwarmError(f"p2pd ended at its start: {error!r}") from error
        if str(p2p.peer_id) != identity.peer_id:
            raise SwarmError(f"p2pd runs as {p2p.peer_id} instead of {identity.peer_id}")
        yield Daemon(process, p2p)
    finally:
        await undisturbed(asyncio.create_task(_end(p2p, process, reader)))
        shutil.rmtree(folder, ignore_errors=True)


async def _end(
    p2p: P2P | None, process: asyncio.subprocess.Process | None, reader: asyncio.Task[None] | None
) -> None:
    if p2p is not None:
        await p2p.shutdown()
    if (owner := current_owner.get()) is not None:
        await owner.close()  # hivemind only cancels its tasks; wait for their end
    if process is not None:
        await _stop(process)
    if reader is not None:
        await reader


def _check_ports_free(listen_maddrs: Sequence[str]) -> None:
    """p2pd shares a TCP port with another p2pd (SO_REUSEPORT); each would get half of the connections."""
    for maddr in listen_maddrs:
        words = maddr.split("/")
        if len(words) < 5 or words[1] not in ("ip4", "ip6") or words[3] != "tcp" or words[4] == "0":
            continue
        family = socket.AF_INET if words[1] == "ip4" else socket.AF_INET6
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((words[2], int(words[4])))
            except OSError as error:
                raise SwarmError(
                    f"can't listen on {maddr} ({error.strerror}): choose another port, or 0 for any"
                ) from error


async def _launch(control: Multiaddr, key_file: Path, config: DaemonConfig) -> asyncio.subprocess.Process:
    binary = Path(hivemind.hivemind_cli.__file__).with_name("p2pd")
    flags = {
        "listen": control,
        "id": key_file,
        "idleTimeout": f"{config.startup_timeout_seconds + 15:.0f}s",  # if we die before we connect to it
        "persistentConnMaxMsgSize": DEFAULT_MAX_MSG_SIZE,
        "dhtClient" if config.client_only else "dhtServer": 1,
        "b": int(config.bootstrap and bool(config.initial_peers)),
        "tls": 1,
        "connManager": 1,
        "relay": 1,
        "autonat": int(not config.client_only),
        "natPortMap": int(config.use_relays),
        "autoRelay": int(config.use_relays and bool(config.initial_peers)),
        "relayService": int(not config.client_only),
    }
    if config.initial_peers:
        flags["bootstrapPeers"] = ",".join(config.initial_peers)
    if config.announce_maddrs:
        flags["announceAddrs"] = ",".join(config.announce_maddrs)
    if config.listen_maddrs:
        flags["hostAddrs"] = ",".join(config.listen_maddrs)
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
            start_new_session=True,  # Ctrl-C is for us: we withdraw our records first, then end p2pd
        )
    except OSError as error:
        raise SwarmError(
            f"{binary} can't be started ({error.strerror}): install hivemind 1.1.12 for this machine again"
        ) from error


async def _read_output(process: asyncio.subprocess.Process, ready: asyncio.Future[str | None]) -> None:
    """Log what p2pd prints; `ready` becomes None once it runs, or its last words if it ends first."""
    assert process.stdout is not None
    last_words = "no reason given"
    while True:
        try:
            line = (await process.stdout.readline()).decode(errors="replace")
        except ValueError:  # longer than the reader's limit
            continue
        if not line:
            break
        if line.strip():
            last_words = line.strip()
            _logger.debug("p2pd: %s", last_words)
        if line.startswith("Peer ID:") and not ready.done():
            ready.set_result(None)
    await process.wait()
    if not ready.done():
        ready.set_result(last_words)


async def _wait_ready(ready: asyncio.Future[str | None], config: DaemonConfig) -> SwarmError | None:
    try:
        last_words = await asyncio.wait_for(asyncio.shield(ready), config.startup_timeout_seconds)
    except TimeoutError:
        if config.bootstrap and config.initial_peers:
            return unreachable(config.initial_peers)
        return SwarmError(f"p2pd didn't start within {config.startup_timeout_seconds:g} s")
    if last_words is None:
        return None
    if "bootstrap" in last_words:
        return unreachable(config.initial_peers)
    if "listen" in last_words:
        listen = ", ".join(config.listen_maddrs)
        return SwarmError(
            f"can't listen on {listen}: is the port taken, the address not ours? ({last_words})"
        )
    return SwarmError(f"p2pd ended at its start: {last_words}")


def unreachable(initial_peers: Sequence[str]) -> SwarmUnreachableError:
    """The error that names who didn't answer."""
    return SwarmUnreachableError(
        f"no peer of the swarm answers at {', '.join(initial_peers)}: is one of them running, "
        "is the address complete and current, does a firewall stand between?"
    )


async def _attach(control: Multiaddr, folder: Path) -> P2P:
    class PrivateP2P(P2P):  # type: ignore[misc]  # hivemind is untyped
        """hivemind's P2P with its sockets in our folder instead of /tmp."""

        _UNIX_SOCKET_PREFIX = f"/unix{folder}/"

    return await PrivateP2P.replicate(control)


async def _stop(process: asyncio.subprocess.Process) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is None:
            with suppress(ProcessLookupError):
                # Not process.send_signal: it reaps a child that just ended, and asyncio warns that it's gone.
                os.kill(process.pid, number)
        try:
            await asyncio.wait_for(process.wait(), _STOP_SECONDS)
        except TimeoutError:
            continue
        return


def _write_secret(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)

"""Stores of random bytes, and peers that give them: the real service behind a real door, with TLS."""

from __future__ import annotations

import asyncio
import random
import secrets
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc

from p2pinfer.model.layer_store.chunks import FileDigest, FileEntry
from p2pinfer.model.layer_store.manifest import Manifest, hash_of
from p2pinfer.model.layer_store.names import CONFIG_FILE, ENDS_FILE, MANIFEST_FILE, layer_file
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.server.door.front_door import FrontDoor, listen_on
from p2pinfer.server.door.guests import Guests
from p2pinfer.server.door.open_calls import OpenCalls
from p2pinfer.server.door.requests import ParsedRequests
from p2pinfer.sharing.fetch.calls import SharingCalls, connected
from p2pinfer.sharing.fetch.fetch import FetchSettings, fetch_files
from p2pinfer.sharing.fetch.holder import Holder
from p2pinfer.sharing.fetch.progress import Progress, Summary
from p2pinfer.sharing.give.allowance import Gate
from p2pinfer.sharing.give.service import Limits, SharingService
from p2pinfer.sharing.holdings import Holdings
from p2pinfer.types import Address, PeerId
from p2pinfer.wire.certificates import Certificate, new_certificate
from p2pinfer.wire.channels import SERVER_OPTIONS, ChannelPool
from p2pinfer.wire.sharing_pb2_grpc import add_SharingServicer_to_server
from p2pinfer.wire.status import Refused

MIB = 1 << 20
CERTIFICATE = new_certificate()  # making one takes longer than most tests
QUICK = FetchSettings(
    look_seconds=0.1,
    report_seconds=0.05,
    locked_seconds=0.05,
    patience_seconds=30.0,
    source_after_seconds=0.2,
)


class Always:
    """Everything, at any speed."""

    def may_begin(self) -> Refused | None:
        """Nothing is refused."""
        return None

    async def wait_to_send(self, size_bytes: int) -> None:
        """Nothing waits."""

    def sent(self, size_bytes: int) -> None:
        """Nothing is counted."""

    def not_sent(self, size_bytes: int) -> None:
        """Nothing was counted."""


def random_store(folder: Path, layers: Sequence[int] = (3 * MIB + 5,), *, seed: int = 0) -> LayerStore:
    """A store whose files are random bytes, layers of these sizes: nothing that an engine could read."""
    draw = random.Random(seed)
    sizes = {CONFIG_FILE: 100, ENDS_FILE: MIB + 1}
    sizes |= {layer_file(index): size for index, size in enumerate(layers)}
    (folder / "layers").mkdir(parents=True)
    files: dict[str, FileEntry] = {}
    for name, size in sizes.items():
        data = draw.randbytes(size)
        digest = FileDigest()
        digest.update(data)
        files[name] = digest.entry()
        (folder / name).write_bytes(data)
    manifest = Manifest(
        hash=hash_of(files),
        name="random",
        model_type="llama",
        num_layers=len(layers),
        hidden_size=1,
        vocab_size=1,
        max_positions=1,
        files=files,
    )
    (folder / MANIFEST_FILE).write_text(manifest.to_json())
    return LayerStore(folder, manifest, {})


def empty_store(folder: Path, store: LayerStore) -> LayerStore:
    """A store of the same model without any file."""
    return LayerStore(folder, store.manifest, {})


def same_files(one: LayerStore, other: LayerStore, names: Sequence[str] | None = None) -> bool:
    """True if both have the same bytes, in all files or in these."""
    names = names if names is not None else tuple(one.manifest.files)
    return all((one.folder / name).read_bytes() == (other.folder / name).read_bytes() for name in names)


class Valve:
    """A gate that lets so many bytes through, and then no more until it's opened."""

    def __init__(self, free_bytes: int) -> None:
        self._free_bytes = free_bytes
        self.is_empty = asyncio.Event()
        self._opened = asyncio.Event()

    def open(self) -> None:
        self._opened.set()

    def may_begin(self) -> Refused | None:
        return None

    async def wait_to_send(self, size_bytes: int) -> None:
        self._free_bytes -= size_bytes
        if self._free_bytes < 0:
            self.is_empty.set()
            await self._opened.wait()

    def sent(self, size_bytes: int) -> None:
        pass

    def not_sent(self, size_bytes: int) -> None:
        pass


class Peer:
    """A peer that gives what its store holds, and can fetch. Made by `Peers`."""

    def __init__(self, peers: Peers, store: LayerStore, service: Any, holdings: Holdings) -> None:
        self.peer_id = PeerId(f"12D3KooW{secrets.token_hex(12)}")
        self.store = store
        self.holdings = holdings
        self.service = service
        self.certificate: Certificate = CERTIFICATE
        self.port = 0
        self._peers = peers
        self._running = AsyncExitStack()

    @property
    def address(self) -> Address:
        return Address(self.peer_id, (f"127.0.0.1:{self.port}",), self.certificate.der)

    @property
    def holder(self) -> Holder:
        return Holder(self.peer_id, self.address)

    async def start(self) -> None:
        """Serve at a new port."""
        folder = self._running.enter_context(tempfile.TemporaryDirectory())
        guests = Guests()
        interceptors = [ParsedRequests(), OpenCalls(guests)]
        server = grpc.aio.server(interceptors=interceptors, options=SERVER_OPTIONS)
        add_SharingServicer_to_server(self.service, server)
        server.add_secure_port(f"unix:{folder}/grpc.sock", self.certificate.credentials)
        await server.start()
        self._running.push_async_callback(server.stop, None)
        listener = listen_on("127.0.0.1:0")
        self.port = listener.getsockname()[1]
        door = FrontDoor(f"{folder}/grpc.sock", self.certificate.lanes, lambda lane: None, guests)
        await self._running.enter_async_context(door.open([listener]))

    async def stop(self) -> None:
        """Be gone, as after a power cut. Stopping twice is harmless."""
        await self._running.aclose()

    async def fetch(self, *from_peers: Peer, names: Sequence[str] | None = None, **options: Any) -> Summary:
        """Fetch files, by default all, into this peer's store."""

        async def holders() -> list[Holder]:
            return [peer.holder for peer in from_peers if peer is not self]

        options.setdefault("settings", QUICK)
        options.setdefault("holders", holders)
        options.setdefault("report", ignore)
        wanted = names if names is not None else tuple(self.store.manifest.files)
        return await fetch_files(self.store, wanted, self.holdings, pool=self._peers.pool(), **options)


def ignore(progress: Progress) -> None:
    """Nobody looks."""


class Peers:
    """The peers of a test; made by `some_peers`."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._count = 0

    async def add(
        self,
        store: LayerStore,
        *,
        gate: Gate | None = None,
        limits: Limits | None = None,
        service: Any = None,
    ) -> Peer:
        """A peer that gives what is in a store; `service` may be another than the real one."""
        holdings = Holdings(store)
        self._stack.callback(holdings.close)
        limits = limits or Limits(news_seconds=0.01)
        service = service or SharingService(store, holdings, gate or Always(), limits=limits)
        peer = Peer(self, store, service, holdings)
        await peer.start()
        self._stack.push_async_callback(peer.stop)
        return peer

    async def add_empty(self, model: LayerStore, **options: Any) -> Peer:
        """A peer that has nothing of a model yet."""
        self._count += 1
        return await self.add(empty_store(self._folder / f"empty-{self._count}", model), **options)

    def pool(self) -> ChannelPool:
        """A pool that is closed with the test."""
        pool = ChannelPool()
        self._stack.push_async_callback(pool.close)
        return pool

    @asynccontextmanager
    async def calls(self, peer: Peer) -> AsyncIterator[SharingCalls]:
        """Calls to a peer, by hand."""
        async with connected(self.pool(), peer.address) as calls:
            yield calls


@asynccontextmanager
async def some_peers(folder: Path) -> AsyncIterator[Peers]:
    """Peers with their stores below a folder."""
    async with AsyncExitStack() as stack:
        yield Peers(folder, stack)


def all_bytes(peer: Peer) -> int:
    """Of the whole model."""
    return peer.store.manifest.bytes_of(tuple(peer.store.manifest.files))

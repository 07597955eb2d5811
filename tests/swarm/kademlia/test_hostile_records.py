"""Attacks over the network against real nodes: none of them is accepted, and no node dies."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import msgpack
import pytest
import pytest_asyncio
from hivemind.dht.protocol import DHTProtocol
from hivemind.dht.routing import DHTID
from hivemind.dht.storage import DictionaryDHTValue
from hivemind.p2p import PeerID
from hivemind.proto import dht_pb2
from hivemind.utils.serializer import MSGPackSerializer

from p2pinfer.identity import Identity
from p2pinfer.swarm import record_pb2
from p2pinfer.swarm.cells.climb import CAPACITY
from p2pinfer.swarm.cells.keys import root_key
from p2pinfer.swarm.kademlia.views import TOLD_BYTES
from p2pinfer.swarm.records.announcement import Announcement, ServerState, decode, encode
from p2pinfer.swarm.records.signed import seal
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.types import Span
from tests.swarm.conftest import MODEL, describe, join_all, join_here, node_of
from tests.swarm.kademlia.bomb import nested_bomb

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = root_key(MODEL)
YEAR_SECONDS = 365 * 86400.0


@dataclass
class Scene:
    """An honest server has announced itself; the attacker is in the same swarm."""

    victim: Swarm  # keeps the records
    server: Swarm
    reader: Swarm
    honest: Identity
    announcement: Announcement  # as stored
    attacker_node: Swarm
    attacker: Identity

    async def store(
        self, value: bytes, *, subkey: bytes | None = None, key: bytes = KEY, expires_at: float
    ) -> bool:
        """What the victim answers to a request to store, sent by the attacker."""
        request = dht_pb2.StoreRequest(
            keys=[key],
            subkeys=[self.attacker.peer_id.encode() if subkey is None else subkey],
            values=[value],
            expiration_time=[expires_at],
            in_cache=[False],
        )
        protocol = node_of(self.attacker_node).protocol
        victim = PeerID.from_base58(self.victim.peer_id)
        response = await protocol.get_stub(victim).rpc_store(request, timeout=5)
        return any(not stored.refusal for stored in response.stored)

    async def seen(self) -> list[Announcement]:
        """What a client reads, and a newcomer that has seen nothing before."""
        async with join_here(self.victim.addresses, client_only=True) as newcomer:
            servers = await newcomer.servers(MODEL)
        assert await self.reader.servers(MODEL) == servers
        return servers

    def answer_searches_with(self, *records: bytes) -> None:
        """From now on the attacker answers every search with these records, unchecked."""
        node_of(self.attacker_node).protocol._kept = lambda key: list(records)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def swarm_of_four() -> AsyncIterator[Scene]:
    """One swarm for all attacks: each of them has to fail, so that none changes it."""
    honest, attacker = Identity.ephemeral(), Identity.ephemeral()
    async with (
        join_here() as victim,
        join_all(
            join_here(victim.addresses, honest),
            join_here(victim.addresses, attacker),
            join_here(victim.addresses, client_only=True),
        ) as (server, attacker_node, reader),
    ):
        announcement = await server.announce(describe(honest, state=ServerState.JOINING))
        yield Scene(victim, server, reader, honest, announcement, attacker_node, attacker)


@pytest_asyncio.fixture(loop_scope="module")
async def scene(swarm_of_four: Scene) -> AsyncIterator[Scene]:
    """The honest server has announced itself anew, and the attacker answers honestly as yet."""
    announcement = await swarm_of_four.server.announce(describe(swarm_of_four.honest))
    yield replace(swarm_of_four, announcement=announcement)
    vars(node_of(swarm_of_four.attacker_node).protocol).pop("_kept", None)


def sealed(identity: Identity, *, expires_at: float, announced_at: float | None = None) -> bytes:
    """A record with any lifetime, signed properly."""
    record = record_pb2.ServerRecord(
        model=MODEL,
        model_name="m",
        num_layers=30,
        first_layer=0,
        end_layer=30,
        state=record_pb2.SERVER_STATE_SERVING,
        numerics="x",
        announced_at=announced_at if announced_at is not None else expires_at - 60,
        expires_at=expires_at,
    )
    payload = record.SerializeToString()
    return seal(identity, record_pb2.RECORD_KIND_SERVER, payload)


async def test_a_forged_record_is_refused(scene: Scene) -> None:
    """In the honest server's name: signed by another, and signed by it but altered since."""
    lie = replace(scene.announcement, layers=Span(20, 30), expires_at=scene.announcement.expires_at + 9)
    envelope = record_pb2.SignedRecord.FromString(
        encode(replace(lie, peer_id=scene.attacker.peer_id, maddrs=()), scene.attacker)
    )
    envelope.public_key = scene.honest.public_key
    forged = envelope.SerializeToString()
    altered = bytearray(encode(scene.announcement, scene.honest))
    altered[40] ^= 1
    for value in (forged, bytes(altered)):
        for subkey in (scene.honest.peer_id, scene.attacker.peer_id):
            assert not await scene.store(value, subkey=subkey.encode(), expires_at=lie.expires_at)
    scene.answer_searches_with(forged, bytes(altered))

    assert await scene.seen() == [scene.announcement]


async def test_a_plain_value_doesnt_wipe_the_records(scene: Scene) -> None:
    expires_at = time.time() + 500
    empty = MSGPackSerializer.dumps(DictionaryDHTValue())
    for subkey, value in (
        (DHTProtocol.IS_REGULAR_VALUE, b"gone"),
        (DHTProtocol.IS_DICTIONARY, empty),
        (b"", b""),
    ):
        assert not await scene.store(value, subkey=subkey, expires_at=expires_at)

    assert await scene.seen() == [scene.announcement]


async def test_a_foreign_key_is_refused(scene: Scene) -> None:
    """A valid record under the honest server's name, under another key, or sent by another peer."""
    own = describe(scene.attacker, expires_at=time.time() + 300)
    record = encode(own, scene.attacker)
    honest_record = encode(scene.announcement, scene.honest)

    assert not await scene.store(record, subkey=scene.honest.peer_id.encode(), expires_at=own.expires_at)
    assert not await scene.store(record, key=root_key("cd" * 32), expires_at=own.expires_at)
    assert not await scene.store(record, key=b"k" * 5000, expires_at=own.expires_at)
    assert not await scene.store(record, subkey=b"s" * 5000, expires_at=own.expires_at)
    assert not await scene.store(
        honest_record, subkey=scene.honest.peer_id.encode(), expires_at=scene.announcement.expires_at
    )
    assert await scene.seen() == [scene.announcement]
    # Its own, under its name and its key, is welcome: it isn't all that it sends that is refused.
    assert await scene.store(
        encode(replace(own, model="cd" * 32), scene.attacker),
        key=root_key("cd" * 32),
        expires_at=own.expires_at,
    )


async def test_a_stale_replay_doesnt_replace_the_newer_record(scene: Scene) -> None:
    """Nor shorten its life, nor make a reader forget it."""
    now = time.time()
    stale = encode(describe(scene.honest, announced_at=now - 60, expires_at=now + 20), scene.honest)
    old = decode(stale)
    for subkey in (scene.honest.peer_id, scene.attacker.peer_id):
        assert not await scene.store(stale, subkey=subkey.encode(), expires_at=old.expires_at)
        assert not await scene.store(stale, subkey=subkey.encode(), expires_at=now + 400)
    scene.answer_searches_with(stale)

    assert await scene.seen() == [scene.announcement]


async def test_a_withdrawn_server_stays_withdrawn_when_its_record_is_replayed(scene: Scene) -> None:
    async with join_here(scene.victim.addresses) as late:
        record = encode(scene.announcement, scene.honest)
        tombstone = encode(
            replace(
                scene.announcement,
                state=ServerState.LEFT,
                expires_at=scene.announcement.expires_at + 0.001,
            ),
            scene.honest,
        )
        keeper = node_of(scene.victim).protocol
        assert keeper.keep(KEY, keeper.record_validator.accept(KEY, tombstone))
        scene.answer_searches_with(record)

        assert await scene.reader.servers(MODEL) == []
        assert await late.servers(MODEL) == []


async def test_a_year_long_lifetime_is_refused(scene: Scene) -> None:
    now = time.time()
    long_life = sealed(scene.attacker, expires_at=now + YEAR_SECONDS, announced_at=now)
    from_the_future = sealed(scene.attacker, expires_at=now + YEAR_SECONDS)
    stretched = encode(describe(scene.attacker), scene.attacker)
    for value in (long_life, from_the_future, stretched):
        assert not await scene.store(value, expires_at=now + YEAR_SECONDS)
    scene.answer_searches_with(long_life, from_the_future)

    assert await scene.seen() == [scene.announcement]


@asynccontextmanager
async def bootstrap_process() -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """`python -m p2pinfer.swarm` as a separate process, so that a crash shows."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "p2pinfer.swarm", "--listen", "/ip4/127.0.0.1/tcp/0", stdout=-1
    )
    assert process.stdout is not None
    try:
        line = (await process.stdout.readline()).decode()
        yield process, line.split()[-1]
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def test_a_nested_bomb_kills_no_process() -> None:
    """Sent to a node in a separate process, in every field that takes bytes; then found by a search."""
    bomb = nested_bomb()
    attacker, honest = Identity.ephemeral(), Identity.ephemeral()
    async with bootstrap_process() as (process, address):
        async with join_here([address], attacker) as node, join_here([address], honest) as server:
            stored = await server.announce(describe(honest))
            victim = PeerID.from_base58(address.rpartition("/")[2])
            dictionary = msgpack.packb(msgpack.ExtType(0x50, bomb))
            subkeys = (
                attacker.peer_id.encode(),
                DHTProtocol.IS_DICTIONARY,
                DHTProtocol.IS_REGULAR_VALUE,
                bomb,
            )
            for subkey in subkeys:
                for value in (bomb, dictionary):
                    request = dht_pb2.StoreRequest(
                        keys=[KEY],
                        subkeys=[subkey],
                        values=[value],
                        expiration_time=[time.time() + 60],
                        in_cache=[False],
                    )
                    response = await node_of(node).protocol.get_stub(victim).rpc_store(request, timeout=5)
                    assert [bool(stored.refusal) for stored in response.stored] == [True]
            # As the answer to a search, to a reader in a separate process.
            node_of(node).protocol._packed = lambda key, budget: dictionary
            program = (
                "import asyncio, sys\n"
                "from p2pinfer.swarm.swarm import Swarm\n"
                "from p2pinfer.identity import Identity\n"
                "async def main():\n"
                "    async with Swarm.join(sys.argv[1:2], Identity.ephemeral(), client_only=True) as swarm:\n"
                "        print(*[server.peer_id for server in await swarm.servers(sys.argv[2])])\n"
                "asyncio.run(main())\n"
            )
            reader = await asyncio.create_subprocess_exec(
                sys.executable, "-c", program, node.addresses[0], MODEL, stdout=-1
            )
            output, _ = await reader.communicate()
            assert reader.returncode == 0
            assert output.decode() == f"{honest.peer_id}\n"
            assert await server.servers(MODEL) == [stored]
        assert process.returncode is None
        process.terminate()
        assert await process.wait() == 0


async def test_one_identity_is_no_crowd_however_many_records_it_shows(scene: Scene) -> None:
    """A walk ends at a node that shows a crowd: it would end at one that repeats itself."""
    now = time.time()
    own = [sealed(scene.attacker, expires_at=now + 50 + number / 100) for number in range(CAPACITY)]
    scene.answer_searches_with(*own, *[own[-1]] * CAPACITY)
    protocol = node_of(scene.reader).protocol
    answer = await protocol.call_records(PeerID.from_base58(scene.attacker.peer_id), [DHTID.from_bytes(KEY)])

    assert answer is not None
    ((records, _),) = answer.values()
    assert [record.data for record in records] == [own[-1]]


async def test_no_stranger_draws_records_without_end(scene: Scene) -> None:
    """A question of 350 bytes brings three megabytes; nodes that are near are told all the time."""
    protocol = node_of(scene.reader).protocol
    stub = protocol.get_stub(PeerID.from_base58(scene.attacker.peer_id))
    full = [bytes([number]) * 4000 for number in range(CAPACITY)]
    scene.answer_searches_with(*full)
    drawn = 0
    for _ in range(10):
        answer = await stub.rpc_find(dht_pb2.FindRequest(keys=[KEY] * 16), timeout=5)
        drawn += sum(len(result.value) for result in answer.results)
    viewed = await stub.rpc_view(dht_pb2.FindRequest(keys=[KEY]), timeout=5)

    assert len(answer.results) == 16 and answer.results[0].nearest_peer_ids
    assert drawn + len(viewed.results[0].value) <= 1.1 * TOLD_BYTES.per_key


async def test_nodes_of_other_hivemind_networks_cant_call_ours(scene: Scene) -> None:
    presence = scene.attacker_node._membership.presence()
    with pytest.raises(Exception, match="protocol"):
        await presence.run(
            presence.daemon.p2p.call_protobuf_handler(
                PeerID.from_base58(scene.victim.peer_id),
                "DHTProtocol.rpc_ping",
                dht_pb2.PingRequest(),
                dht_pb2.PingResponse,
            )
        )


@pytest.mark.parametrize("raw", [b"", b"x", bytes(19), b"\xff" * 21, b"\xff" * 4096], ids=len)
async def test_node_ids_and_keys_of_other_lengths_are_answered(scene: Scene, raw: bytes) -> None:
    """hivemind's own handlers fail with an AssertionError for the longer ones."""
    stub = node_of(scene.attacker_node).protocol.get_stub(PeerID.from_base58(scene.victim.peer_id))
    answer = await stub.rpc_ping(dht_pb2.PingRequest(peer=dht_pb2.NodeInfo(node_id=raw)), timeout=5)
    assert abs(answer.dht_time - time.time()) < 60
    with pytest.raises(Exception, match="keys of 20 bytes"):
        await stub.rpc_find(dht_pb2.FindRequest(keys=[KEY, raw]), timeout=5)
    assert await scene.attacker_node.servers(MODEL) == [scene.announcement]


async def test_requests_that_are_too_large_are_answered_with_an_error(scene: Scene) -> None:
    stub = node_of(scene.attacker_node).protocol.get_stub(PeerID.from_base58(scene.victim.peer_id))
    with pytest.raises(Exception, match="keys"):
        await stub.rpc_find(dht_pb2.FindRequest(keys=[KEY] * 1000), timeout=5)
    with pytest.raises(Exception, match="records"):
        await stub.rpc_store(dht_pb2.StoreRequest(keys=[KEY] * 1000), timeout=5)
    assert await scene.attacker_node.servers(MODEL) == [scene.announcement]

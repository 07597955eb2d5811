"""More tunnels than there are places: who has most makes room, and what isn't used goes first."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress

from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.merits import KNOWN_TOKENS
from p2pinfer.fairness.sources import peer_source
from p2pinfer.identity import Identity
from p2pinfer.swarm.tunnel import acceptor as acceptor_module
from p2pinfer.swarm.tunnel import tunnel_end
from p2pinfer.swarm.tunnel.messages import ID_BYTES, Kind, encode, read_message
from tests.swarm.tunnel.wiring import at_most, say, wired

ID = bytes(range(ID_BYTES))
HELLO = encode(Kind.DATA, 0, b"hello")


async def test_ten_thousand_openings_hold_no_more_than_the_limit() -> None:
    """They come from one peer, on streams that are left open, and another peer is still served."""
    async with wired(bound=at_most(16, 8)) as (wires, _):
        writers = []
        for _ in range(10_000):
            reader, writer = await say(wires, encode(Kind.OPEN, 0, secrets.token_bytes(ID_BYTES)))
            if len(wires.acceptor._taking) <= 8:
                await asyncio.sleep(0)
            writers.append(writer)
            if len(writers) > 100:
                writers.pop(8).transport.abort()
            assert len(wires.acceptor._taking) <= 16
            assert len(wires.acceptor._tunnels) <= 8
        wires.peer_id = Identity.ephemeral().peer_id
        reader, writer = await say(wires, encode(Kind.OPEN, 0, ID))
        assert (await read_message(reader)).kind is Kind.READY
        for one in (*writers, writer):
            one.transport.abort()


async def test_streams_that_say_nothing_are_counted(monkeypatch) -> None:
    monkeypatch.setattr(acceptor_module, "_SILENT_SECONDS", 60.0)
    monkeypatch.setattr(acceptor_module, "_OPEN_SECONDS", 60.0)
    async with wired(bound=at_most(256, 2)) as (wires, _):
        silent = [await wires.open_raw() for _ in range(4)]
        await asyncio.sleep(0)
        reader, refused = await wires.open_raw()
        with suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 30) == b""
        for _, writer in (*silent, (reader, refused)):
            writer.transport.abort()


async def test_streams_that_say_nothing_make_room_for_one_that_speaks(monkeypatch) -> None:
    """A few strangers could hold all streams with silence, and nobody else would reach the server."""
    monkeypatch.setattr(acceptor_module, "_SILENT_SECONDS", 0.0)
    async with wired(bound=at_most(4, 2)) as (wires, _):
        silent = []
        for _ in range(2):
            wires.peer_id = Identity.ephemeral().peer_id
            silent += [await wires.open_raw() for _ in range(4)]
        await asyncio.sleep(0)
        assert len(wires.acceptor._taking) == 8
        wires.peer_id = Identity.ephemeral().peer_id
        reader, writer = await say(wires, encode(Kind.OPEN, 0, ID))
        assert (await read_message(reader)).kind is Kind.READY
        for _, one in (*silent, (reader, writer)):
            one.transport.abort()


async def test_who_has_most_tunnels_makes_room_for_who_has_none(monkeypatch) -> None:
    """Identities cost nothing: four of them could hold every place of a server for ever."""
    monkeypatch.setattr(tunnel_end, "_PART_SECONDS", 0.01)
    async with wired(bound=at_most(8, 4)) as (wires, _):
        held = []
        for _ in range(2):
            wires.peer_id = Identity.ephemeral().peer_id
            for _ in range(4):
                held.append(await say(wires, encode(Kind.OPEN, 0, secrets.token_bytes(ID_BYTES))))
                assert (await read_message(held[-1][0])).kind is Kind.READY
        for expected in [Kind.READY] * 6 + [Kind.REFUSED]:  # then all have one
            wires.peer_id = Identity.ephemeral().peer_id
            held.append(await say(wires, encode(Kind.OPEN, 0, ID)))
            assert (await read_message(held[-1][0])).kind is expected
            assert len(wires.acceptor._tunnels) == 8
        for _, one in held:
            one.transport.abort()


async def test_a_tunnel_that_was_silent_for_long_makes_room(monkeypatch) -> None:
    monkeypatch.setattr(acceptor_module, "IDLE_SECONDS", -1.0)
    monkeypatch.setattr(tunnel_end, "_PART_SECONDS", 0.01)
    async with wired(bound=at_most(2, 1)) as (wires, _):
        held = []
        for _ in range(4):
            wires.peer_id = Identity.ephemeral().peer_id
            held.append(await say(wires, encode(Kind.OPEN, 0, ID)))
            assert (await read_message(held[-1][0])).kind is Kind.READY
        for _, one in held:
            one.transport.abort()


async def test_a_crowd_behind_one_relay_has_its_share_and_others_get_in(monkeypatch) -> None:
    monkeypatch.setattr(tunnel_end, "_PART_SECONDS", 0.01)
    async with wired(bound=at_most(12, 2, per_source=6)) as (wires, _):
        held = []
        wires.relay = Identity.ephemeral().peer_id
        for number in range(10):
            wires.peer_id = Identity.ephemeral().peer_id
            held.append(await say(wires, encode(Kind.OPEN, 0, ID)))
            expected = Kind.READY if number < 6 else Kind.REFUSED  # all have one
            assert (await read_message(held[-1][0])).kind is expected
        for _ in range(6):
            wires.peer_id, wires.relay = Identity.ephemeral().peer_id, Identity.ephemeral().peer_id
            held.append(await say(wires, encode(Kind.OPEN, 0, ID)))
            assert (await read_message(held[-1][0])).kind is Kind.READY
        for _, one in held:
            one.transport.abort()


async def test_a_tunnel_through_which_nothing_comes_goes_first(monkeypatch) -> None:
    """Though it was heard of last."""
    monkeypatch.setattr(acceptor_module, "EMPTY_SECONDS", 0.0)
    monkeypatch.setattr(tunnel_end, "_PART_SECONDS", 0.01)
    async with wired(bound=at_most(2, 1)) as (wires, _):
        held, peers = [], []
        for messages in ([HELLO], []):
            wires.peer_id = Identity.ephemeral().peer_id
            held.append(await say(wires, encode(Kind.OPEN, 0, ID), *messages))
            assert (await read_message(held[-1][0])).kind is Kind.READY
            peers.append(wires.peer_id)
        while (await read_message(held[0][0])).kind is not Kind.DATA:  # the echo
            pass
        newcomer = wires.peer_id = Identity.ephemeral().peer_id
        held.append(await say(wires, encode(Kind.OPEN, 0, ID)))
        assert (await read_message(held[-1][0])).kind is Kind.READY
        assert {peer for peer, _ in wires.acceptor._tunnels} == {peers[0], newcomer}
        for _, one in held:
            one.transport.abort()


async def test_a_part_is_kept_for_peers_that_are_known() -> None:
    async with wired(bound=at_most(4, 4, for_known=1)) as (wires, _):
        held = []
        known = Identity.ephemeral().peer_id
        merits = wires.acceptor._merits
        merits.signed(Guest(key=b"its key", sources=(peer_source(known),)), KNOWN_TOKENS)
        for expected in [Kind.READY] * 3 + [Kind.REFUSED]:
            wires.peer_id = Identity.ephemeral().peer_id
            held.append(await say(wires, encode(Kind.OPEN, 0, ID)))
            assert (await read_message(held[-1][0])).kind is expected
        wires.peer_id = known
        held.append(await say(wires, encode(Kind.OPEN, 0, ID)))
        assert (await read_message(held[-1][0])).kind is Kind.READY
        for _, one in held:
            one.transport.abort()

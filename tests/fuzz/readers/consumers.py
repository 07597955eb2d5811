"""What is done with a record that was believed: whatever it says, nobody stumbles over it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace

from google.protobuf.message import DecodeError

from p2pinfer.client.reach.pong import Pong
from p2pinfer.client.route.directory import Directory
from p2pinfer.errors import InvalidRecordError
from p2pinfer.health.snapshot.report import SwarmReading
from p2pinfer.server.placement.view import view_of
from p2pinfer.swarm import record_pb2
from p2pinfer.swarm.census.strength import claimed_now, classes
from p2pinfer.swarm.coordinates.position import Position
from p2pinfer.swarm.records.announcement import Announcement, decode
from p2pinfer.swarm.records.listing import ModelListing
from p2pinfer.swarm.records.signed import parse_envelope, seal
from p2pinfer.types import Address, PeerId, Span
from tests.fuzz.reader import Reader
from tests.fuzz.readers.records import ME, RECORD_BYTES, SERVER, server_record
from tests.fuzz.spoiling.spoiler import Form
from tests.health.snapshot.shown import shown

_LAYERS = SERVER.num_layers
_HONEST = replace(
    SERVER,
    peer_id=next(iter(SERVER.next_hop_seconds)),
    layers=Span(0, _LAYERS),
    moves_to=None,
    next_hop_seconds={},
    maddrs=(),
    relays=(),
)


def believed_records() -> Reader:
    """The record beside that of an honest server, which holds all layers."""
    loop = asyncio.new_event_loop()

    def read(payload: bytes) -> None:
        said = record_pb2.ServerRecord()
        with suppress(DecodeError):
            said.ParseFromString(payload)
        data = seal(ME, record_pb2.RECORD_KIND_SERVER, payload[:RECORD_BYTES])
        records = [decode.__wrapped__(data), _HONEST]
        _show(records)
        _place(records)
        route = loop.run_until_complete(_routed(records))
        assert route, "an honest server is there"

    samples = [parse_envelope(server_record())[0].payload]
    return Reader(samples=samples, form=Form.FIELDS, read=read, errors=(InvalidRecordError,))


def _show(records: list[Announcement]) -> None:
    """The health page, in all its forms."""
    now = time.time()
    listing = ModelListing(model=SERVER.model, model_name=SERVER.model_name, num_layers=_LAYERS)
    words = shown(
        SwarmReading(models={listing: records}),
        first_seen={record.peer_id: now for record in records},
        now=now,
    )
    assert not any(sign in words for sign in "\u202e\u2066\x1b")


def _place(records: list[Announcement]) -> None:
    """What servers that choose layers make of it."""
    claimed_now(records, _LAYERS)
    for of_class in classes(records).values():
        view_of(of_class, {record.peer_id: 1.0 for record in of_class}, _LAYERS, time.time())


class _Swarm:
    """A swarm and a carrier in one: both records are there, and both servers answer."""

    def __init__(self, records: list[Announcement]) -> None:
        self._records = records
        self.position = Position()

    async def servers(self, model: str) -> list[Announcement]:
        return self._records

    async def ping(self, address: Address) -> Pong:
        return Pong(0.01, 0, 10_000)

    def way_to(self, peer_id: PeerId) -> None:
        return None


async def _routed(records: list[Announcement]) -> object:
    """The route of a client."""
    world = _Swarm(records)
    directory = Directory(world, world, SERVER.model, _LAYERS, chance=random.Random(1).random)  # type: ignore[arg-type]
    try:
        return await directory.route(cache_tokens=100)
    finally:
        await directory.close()


READERS: Mapping[str, Callable[[], Reader]] = {"believed-records": believed_records}

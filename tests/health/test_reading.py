"""One server or one model that can't be read costs a reading only that server or model."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from p2pinfer.client.reach.grpc_carrier import GrpcCarrier
from p2pinfer.client.reach.pong import Pong
from p2pinfer.errors import HopFailedError, InvalidRecordError, RefusedError, SwarmError
from p2pinfer.health import presence as presences
from p2pinfer.health import reading as readings
from p2pinfer.health.faults import Faults
from p2pinfer.health.presence import ServerPresence
from p2pinfer.health.reading import read_swarm
from p2pinfer.health.snapshot.report import SwarmReading
from p2pinfer.health.snapshot.sampled import CellLabels
from p2pinfer.identity import Identity
from p2pinfer.swarm.discovery.sampling import Sample
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.swarm.records.listing import ModelListing
from p2pinfer.types import Address, Span, Way
from p2pinfer.wire.certificates import new_certificate
from p2pinfer.wire.status import Reason
from tests.health.samples import whole

NOW = 1_800_000_000.0
EMPTY = SwarmReading(models={})

CERTIFICATE = new_certificate().der
VERSION_3, VERSION_16 = bytes.fromhex("a003020102"), bytes.fromhex("a00302010f")
EC_KEY = bytes.fromhex("06072a8648ce3d0201")
CERTIFICATES = {
    "X.509 version 16": CERTIFICATE.replace(VERSION_3, VERSION_16, 1),
    "cut off": CERTIFICATE[:200],
    "followed by more": CERTIFICATE + b"\0",
    "no DER": b"certificate",
    "a length of 2^32": b"\x30\x84\xff\xff\xff\xff",
    "an unknown key": CERTIFICATE.replace(
        bytes.fromhex("06072a8648ce3d0201"), b"\x06\x07\x2a\x03\x04\x05\x06\x07\x08"
    ),
    "noise": random.Random(1).randbytes(1536),
}


def listing(number: int, layers: int = 4) -> ModelListing:
    return ModelListing(model=f"{number:064x}", model_name=f"model {number}", num_layers=layers)


def server(number: int = 0, *, age_seconds: float = 60.0, **changes: Any) -> Announcement:
    """A server of all four layers, by default late with its announcement."""
    fields: dict[str, Any] = {
        "peer_id": Identity.ephemeral().peer_id,
        "model": listing(number).model,
        "model_name": listing(number).model_name,
        "num_layers": 4,
        "layers": Span(0, 4),
        "state": ServerState.SERVING,
        "numerics": "n-1",
        "endpoints": ("127.0.0.1:9",),
        "certificate": CERTIFICATE,
        "announced_at": NOW - age_seconds,
        "expires_at": NOW + 60.0,
    }
    return Announcement(**(fields | changes))


def presence() -> ServerPresence:
    return ServerPresence(late_seconds=18.0, now=lambda: NOW, faults=Faults())


async def answers(address: Address) -> float:
    return 0.01


@dataclass
class World:
    """Models by listing; an exception in place of servers is raised."""

    found: Mapping[ModelListing, Sequence[Announcement] | Exception]
    asked: list[str] = field(default_factory=list)

    async def models(self) -> list[ModelListing]:
        return list(self.found)

    async def sample(self, model: str) -> Sample:
        self.asked.append(model)
        found = next(found for listed, found in self.found.items() if listed.model == model)
        if isinstance(found, Exception):
            raise found
        return whole(found)


async def left_of(bad: Announcement) -> bool:
    """True if of this server, which the real carrier pings, and one that answers the latter is left."""
    well, carrier = server(age_seconds=1.0), GrpcCarrier(ways=None)

    async def ping(address: Address) -> float:
        return 0.01 if address.peer_id == well.peer_id else await carrier.ping(address)

    try:
        return await presence().present([well, bad], ping) == [well]
    finally:
        await carrier.close()


@pytest.mark.parametrize("certificate", CERTIFICATES.values(), ids=CERTIFICATES)
async def test_a_server_whose_certificate_cannot_be_read_is_gone_and_the_others_stay(certificate: bytes):
    """The real carrier reads the certificate. A record has any bytes in its place."""
    assert await left_of(server(certificate=certificate))


@pytest.mark.parametrize(
    "endpoint", ["[::]:1", "[fe80::1]:80", "a.invalid:65535", "0.0.0.0:1", "xn--a:1", "1:1"]
)
async def test_a_server_with_an_odd_endpoint_is_gone_and_the_others_stay(endpoint: str):
    assert await left_of(server(endpoints=(endpoint,)))


@pytest.mark.parametrize(
    "error", [KeyError("x"), RecursionError(), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x")]
)
async def test_whatever_a_ping_raises_only_that_server_is_gone(error: Exception, caplog):
    """The fault is logged once with its traceback, not every few seconds."""
    bad, well = server(), server()

    async def ping(address: Address) -> float:
        if address.peer_id == bad.peer_id:
            raise error
        return 0.01

    watching = ServerPresence(late_seconds=18.0, now=iter_times(NOW, 100.0), faults=Faults())
    for _ in range(3):
        assert await watching.present([bad, well], ping) == [well]
    assert caplog.text.count("Traceback") == 1


def iter_times(start: float, step: float) -> Any:
    """A clock that goes on with each look at it."""
    at = [start]

    def now() -> float:
        at[0] += step
        return at[0]

    return now


async def test_a_thousand_servers_that_do_not_exist_hold_up_no_reading_and_count_nowhere(monkeypatch):
    """Pings end together after a bounded time. Who waits for a turn counts from the first answer on."""
    monkeypatch.setattr(presences, "_PINGS_SECONDS", 0.2)
    honest, servers = server(), [server() for _ in range(1000)]
    asked = 0

    async def ping(address: Address) -> float:
        nonlocal asked
        if address.peer_id == honest.peer_id:
            return 0.01
        asked += 1
        await asyncio.sleep(0.05)
        raise HopFailedError(address.peer_id, "it is gone")

    watching = presence()
    assert await watching.present([honest], ping) == [honest]
    assert await watching.present([*servers, honest], ping) == [honest]
    first = asked
    assert await watching.present([*servers, honest], ping) == [honest]
    assert first < 1000  # a silent server isn't asked again at once
    assert asked <= 1000


async def test_a_punctual_record_of_nobody_counts_nowhere():
    """It may be announced again and again."""
    phantom = server(age_seconds=1.0)

    async def ping(address: Address) -> float:
        raise HopFailedError(address.peer_id, "nobody is there")

    watching = presence()
    for _ in range(3):
        assert await watching.present([phantom], ping) == []


async def test_a_server_that_says_that_it_is_busy_is_there():
    """One that loads its layers refuses everything."""
    joining = server(age_seconds=1.0, state=ServerState.JOINING)

    async def ping(address: Address) -> float:
        raise RefusedError(address.peer_id, Reason.BUSY, "it loads its layers")

    assert await presence().present([joining], ping) == [joining]


async def test_a_silent_server_that_announces_itself_again_is_asked_again():
    silent = server()

    async def ping(address: Address) -> float:
        raise HopFailedError(address.peer_id, "it is gone")

    watching = presence()
    assert await watching.present([silent], ping) == []
    assert await watching.present([silent], answers) == []  # still silent: not asked again yet
    back = server(peer_id=silent.peer_id, age_seconds=1.0)
    assert await watching.present([back], answers) == [back]
    assert await watching.present([back], ping) == [back]  # believed for some time


@pytest.mark.parametrize("error", [InvalidRecordError("model: no"), ValueError("x"), ZeroDivisionError()])
async def test_a_model_that_cannot_be_read_keeps_its_servers_and_hides_no_other(error: Exception):
    before, other = server(1, age_seconds=1.0), server(2, age_seconds=1.0)
    last = SwarmReading(models={listing(1): [before]})
    world = World({listing(1): error, listing(2): [other]})
    found = await read_swarm(world, presence(), answers, last=last, faults=Faults(), labels=CellLabels())
    assert found.models == {listing(1): [before], listing(2): [other]}


async def test_a_swarm_that_cannot_be_reached_is_no_empty_swarm():
    world = World({listing(1): SwarmError("nobody answers")})
    with pytest.raises(SwarmError, match="nobody answers"):
        await read_swarm(world, presence(), answers, last=EMPTY, faults=Faults(), labels=CellLabels())


async def test_a_thousand_invented_models_do_not_push_out_one_that_is_served(monkeypatch):
    """Each costs a look-up. Those with servers come first."""
    monkeypatch.setattr(readings, "MOST_MODELS", 10)
    real = listing(999)
    servers = [server(999, age_seconds=1.0)]
    last = SwarmReading(models={real: servers})
    world = World({**{listing(number): [] for number in range(999)}, real: servers})
    found = await read_swarm(world, presence(), answers, last=last, faults=Faults(), labels=CellLabels())
    assert len(world.asked) == 10
    assert found.models[real] == servers


async def test_the_way_of_a_ping_is_remembered_and_the_first_relayed_one_looked_at_again():
    """By then both sides may have met directly. After that it is believed as long as the others."""
    one, now, ways = (
        server(age_seconds=1.0),
        [NOW],
        iter([Way.RELAYED, Way.PUNCHED, Way.RELAYED, Way.RELAYED]),
    )
    pinged: list[float] = []

    async def ping(address: Address) -> Pong:
        pinged.append(now[0] - NOW)
        return Pong(0.01, 0, 1000, next(ways))

    watching = ServerPresence(late_seconds=1e9, now=lambda: now[0], faults=Faults())
    found = []
    for at in (0.0, 29.0, 31.0, 62.0, 640.0, 671.0, 702.0):
        now[0] = NOW + at
        assert await watching.present([one], ping) == [one]
        found.append(watching.ways[one.peer_id])

    assert pinged == [0.0, 31.0, 640.0, 671.0]
    assert found == [Way.RELAYED] * 2 + [Way.PUNCHED] * 2 + [Way.RELAYED] * 3
    watching.forget_all_but(())
    assert watching.ways == {}


async def test_a_busy_server_is_there_and_keeps_the_way_that_is_known():
    one, now = server(age_seconds=1.0), [NOW]
    answers: Iterator[Pong | Exception] = iter(
        [Pong(0.01, 0, 1000, Way.MAPPED), RefusedError(one.peer_id, Reason.LEAVING, "it loads its layers")]
    )

    async def ping(address: Address) -> Pong:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    watching = ServerPresence(late_seconds=1e9, now=lambda: now[0], faults=Faults())
    for at in (0.0, 700.0):
        now[0] = NOW + at
        assert await watching.present([one], ping) == [one]
        assert watching.ways == {one.peer_id: Way.MAPPED}

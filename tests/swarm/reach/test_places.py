"""A member that nobody can dial is found at two relays, as long as there are any."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from p2pinfer.errors import SwarmError
from p2pinfer.identity import Identity
from p2pinfer.swarm.membership.daemon import Stream
from p2pinfer.swarm.reach import places
from p2pinfer.swarm.reach.places import Places
from p2pinfer.swarm.reach.relay.allowance import Allowance
from p2pinfer.swarm.reach.relay.framing import close_streams, read_message, write_message
from p2pinfer.swarm.reach.relay.messages import Answer, Status, encode_answer
from p2pinfer.swarm.reach.verdict import Verdict
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.tasks import Nursery, ending
from tests.swarm.conftest import MODEL, describe, join_all, join_here
from tests.swarm.reach.homes import hide, until_found_at
from tests.swarm.reach.relay.conftest import settled
from tests.swarm.tunnel.wiring import stream_pair

US = Identity.ephemeral().peer_id
RELAYS = sorted(Identity.ephemeral().peer_id for _ in range(4))


async def test_who_cannot_be_dialled_keeps_two_places_and_its_record_names_them() -> None:
    refusing: dict[str, Allowance] = {}

    def relay(name: str) -> Any:
        return join_here(allowance=lambda: refusing.get(name, Allowance()))

    def named(server: Swarm) -> set[str]:
        return {maddr.rpartition("/p2p/")[2] for maddr in server.reaching.relays}

    identity = Identity.ephemeral()
    async with join_all(relay("first"), relay("second"), relay("third")) as relays:
        initial = [one.addresses[0] for one in relays]
        async with join_here(initial, identity, listen_maddrs=()) as server:
            hide(server)
            await until_found_at(server, *relays[:2])
            record = await server.announce(describe(identity))
            assert set(record.relays) == {relay.addresses[0] for relay in relays[:2]}
            assert not record.maddrs and not record.is_relay and server.relay is None
            assert [record] == await relays[2].servers(MODEL)

            # A relay's owner changes their mind: the third takes its place, and others are told.
            news = asyncio.create_task(server.wait_news())
            refusing["first"] = Allowance(refusal="its owner says so", come_back_seconds=3600.0)
            await until_found_at(server, *relays[1:])
            await asyncio.wait_for(news, 30)
            assert named(server) == {relay.peer_id for relay in relays[1:]}

            server.reaching.verdict = Verdict(is_dialable=True)
            await until_found_at(server)
            assert not (await server.announce(describe(identity))).relays


class Relays:
    """Pretended relays, and the member that asks them: only the answer to a reservation is theirs."""

    def __init__(self, *behaviours: str, come_back_seconds: float = 0.0) -> None:
        self.behaviours = dict(zip(RELAYS, behaviours, strict=False))
        self.come_back_seconds = come_back_seconds
        self.asked: list[str] = []
        self.asked_at: list[float] = []
        self.streams = Nursery()
        self.peer_id = US

    def candidates(self) -> Mapping[Any, tuple[str, ...]]:
        return dict.fromkeys(self.behaviours, ())

    async def open_stream(self, peer_id: Any, protocol: str) -> Stream:
        self.asked.append(self.behaviours[peer_id])
        self.asked_at.append(asyncio.get_running_loop().time())
        if self.behaviours[peer_id] == "is no relay":
            raise SwarmError("it doesn't speak that")
        ours, theirs = await stream_pair()
        self.streams.start(self._answer(self.behaviours[peer_id], theirs))
        return ours

    async def _answer(self, behaviour: str, stream: Stream) -> None:
        try:
            await read_message(stream[0])
            if behaviour == "refuses":
                answer = Answer(status=Status.FULL, reason="full", come_back_seconds=self.come_back_seconds)
            else:
                answer = Answer(status=Status.OK)
            await write_message(stream[1], encode_answer(answer))
            while behaviour == "holds":
                await read_message(stream[0])
                await write_message(stream[1])
        except (OSError, EOFError):
            pass
        finally:
            await close_streams(stream, flush_seconds=0.1)

    @property
    def pauses(self) -> list[float]:
        """Seconds between the times when somebody was asked."""
        return [later - earlier for earlier, later in itertools.pairwise(self.asked_at)]

    async def disconnect(self, peer_id: Any) -> None:
        pass


async def everywhere(relay: Any, maddrs: Sequence[str]) -> Sequence[str]:
    """Relays may be dialled where they say."""
    return maddrs


@asynccontextmanager
async def keeping(relays: Relays) -> AsyncIterator[None]:
    """Keep a place inside the block, and leave no task behind."""
    kept = Places(relays, lambda: None, everywhere)  # type: ignore[arg-type]
    async with ending(asyncio.create_task(kept.keep(lambda: 1, relays.candidates))):
        yield
    await relays.streams.close()
    assert not kept.held


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "LOOK_SECONDS", 0.01)


@pytest.mark.parametrize("behaviour", ["ends it each time", "is no relay"])
async def test_a_relay_that_fails_each_time_is_asked_less_and_less(
    behaviour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that takes everybody first."""
    monkeypatch.setattr(
        places, "AGAIN", SimpleNamespace(longest_seconds=lambda failures: 0.05 * 2.0 ** (failures - 1))
    )
    relays = Relays(behaviour)
    async with keeping(relays):
        await settled(lambda: len(relays.asked) == 5, 30)
    assert all(pause > 0.049 * 2**failures for failures, pause in enumerate(relays.pauses))


async def test_a_place_that_was_held_for_long_is_sought_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "STEADY_SECONDS", -1.0)
    failures: list[int] = []

    def longest_seconds(number: int) -> float:
        failures.append(number)
        return 0.0

    monkeypatch.setattr(places, "AGAIN", SimpleNamespace(longest_seconds=longest_seconds))
    async with keeping(Relays("ends it each time")):
        await settled(lambda: len(failures) > 2, 30)
    assert set(failures) == {1}


@pytest.mark.parametrize("come_back_seconds", [0.0, 0.2])
async def test_a_relay_that_refuses_is_asked_again_when_it_says(
    come_back_seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or after a minute if it doesn't say."""
    monkeypatch.setattr(places, "AGAIN", SimpleNamespace(longest_seconds=lambda failures: 0.0))
    relays = Relays("refuses", come_back_seconds=come_back_seconds)
    async with keeping(relays):
        if come_back_seconds:
            await settled(lambda: len(relays.asked) == 3, 30)
        else:
            await asyncio.sleep(0.5)
    assert len(relays.asked) == (3 if come_back_seconds else 1)
    assert all(pause > 0.199 for pause in relays.pauses)


async def test_others_are_asked_at_once_where_one_fails_and_what_is_held_stays() -> None:
    relays = Relays("is no relay", "refuses", "holds", "holds")
    held: set[str] = set()
    kept = Places(relays, lambda: held.update(kept.held), everywhere)  # type: ignore[arg-type]
    async with ending(asyncio.create_task(kept.keep(lambda: 2, relays.candidates))):
        await settled(lambda: len(kept.held) == 2)
        assert held == set(RELAYS[2:])
        await asyncio.sleep(0.1)
    assert relays.asked == ["is no relay", "refuses", "holds", "holds"]
    await relays.streams.close()


async def test_places_are_given_up_when_none_is_wanted_and_taken_again_later() -> None:
    relays, wanted = Relays("holds", "holds", "holds"), [2]
    kept = Places(relays, lambda: None, everywhere)  # type: ignore[arg-type]
    async with ending(asyncio.create_task(kept.keep(lambda: wanted[0], relays.candidates))):
        for number in (2, 0, 2, 1, 0):
            wanted[0] = number
            await settled(lambda number=number: len(kept.held) == number)  # type: ignore[misc]
    await relays.streams.close()

"""When a route is missing the log says once why, for all sessions of a model."""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable

import pytest

from p2pinfer.client.network import Network
from p2pinfer.client.route.experience import life_of
from p2pinfer.errors import NoRouteError, P2PInferError
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.types import Span
from tests.client.sessions import THREE, decode, in_client, session_of
from tests.fakes import FakeServer, FakeSwarm, fake_swarm, greedy_locally

LOGGER = "p2pinfer.client.failover.mending"


def fill(member: FakeServer) -> None:
    """Lease all of a server's cache to another client."""
    member.sessions._leased_layer_tokens = member.cache_tokens * len(member.engine.span)


def announce(swarm: FakeSwarm, index: int, change: Callable[[Announcement], Announcement]) -> None:
    """Change what the swarm's readers see of one server."""
    member = swarm.members[index]
    record = member.record
    member.record = lambda: change(record())  # type: ignore[method-assign]


def shortages(caplog) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == LOGGER and "waiting" in record.getMessage()
    ]


async def test_servers_that_are_there_and_full_are_called_full_once_however_many_sessions_wait(caplog):
    async with fake_swarm(THREE) as swarm:
        fill(swarm.members[1])

        def work(network: Network) -> None:
            def one() -> None:
                with pytest.raises(P2PInferError):
                    session_of(network, route=5.0).compute([[1]], [1])

            threads = [threading.Thread(target=one) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        await in_client(swarm, work)
    assert shortages(caplog) == [
        "no room for layers 2-3; waiting for a server to have room (every known server that has them is full)"
    ]


async def test_a_text_begins_as_soon_as_a_full_server_has_room(caplog):
    async with fake_swarm(THREE) as swarm:
        fill(swarm.members[1])

        class MakesRoom(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                swarm.members[1].sessions._leased_layer_tokens = 0

        handler = MakesRoom()
        logging.getLogger(LOGGER).addHandler(handler)
        try:
            text = await in_client(swarm, lambda network: decode(session_of(network, route=30), [1], 3))
        finally:
            logging.getLogger(LOGGER).removeHandler(handler)
    assert text == greedy_locally([1], 3, 6)
    assert len(shortages(caplog)) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"state": ServerState.JOINING}, "still loading"),
        ({"state": ServerState.DRAINING}, "leaving"),
        ({"num_layers": 7}, "announcing another number of layers"),
        ({"endpoints": ("127.0.0.1:9",)}, "unreachable from here"),
        ({"endpoints": ()}, "without an address that can be dialled"),
        ({"numerics": "another"}, "those of class fake-1 lack layers 2-3"),
    ],
)
async def test_what_the_record_or_a_ping_tells_is_the_reason(change, words, caplog):
    async with fake_swarm(THREE) as swarm:
        announce(swarm, 1, lambda record: dataclasses.replace(record, **change))
        with pytest.raises(NoRouteError, match=words) as error:
            await in_client(swarm, lambda network: session_of(network, route=1.5).compute([[1]], [1]))
    assert error.value.missing == (Span(2, 4),)
    assert any(words in line for line in shortages(caplog))


async def test_a_model_that_no_server_has_is_said_at_once_with_what_there_is(caplog):
    async with fake_swarm([Span(0, 6)]) as swarm:
        await swarm.members.pop().stop()
        with pytest.raises(NoRouteError, match="no server found in this swarm has fake"):
            await in_client(swarm, lambda network: session_of(network, route=1.5).compute([[1]], [1]))
    [line] = shortages(caplog)
    assert line.startswith(
        "no server for layers 0-5; waiting for servers to join; no server found in this swarm has"
    )


async def test_a_server_that_failed_is_said_to_be_left_out_for_a_moment(caplog):
    async with fake_swarm(THREE) as swarm:

        def work(network: Network) -> None:
            async def ban() -> None:
                network.directory.experience.avoid(life_of(swarm.members[1].record()), 20.0)

            network.run(ban())
            session_of(network, route=1.5).compute([[1]], [1])

        with pytest.raises(NoRouteError, match="left out for a moment after a failure"):
            await in_client(swarm, work)
    assert any("left out for a moment after a failure" in line for line in shortages(caplog))

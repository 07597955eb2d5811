"""What a client measured at a server outweighs the server's record, at the context where it was measured."""

from __future__ import annotations

import dataclasses

import pytest

from p2pinfer.client.reach.carrier import Carrier
from p2pinfer.client.reach.grpc_carrier import GrpcCarrier
from p2pinfer.client.reach.pong import Pong
from p2pinfer.client.route.experience import Experience, life_of
from p2pinfer.client.route.whom_to_ping import Standing
from p2pinfer.errors import HopFailedError
from p2pinfer.identity import Identity
from p2pinfer.types import Address, LayerSeconds, PeerId, Way
from p2pinfer.wire import inference_pb2 as pb
from tests.server.placement.test_roll_call import babbling
from tests.swarm.conftest import describe

NO_CARRIER: Carrier = None  # type: ignore[assignment]  # these tests ping no server
RECORD = dataclasses.replace(describe(Identity.ephemeral()), decode=LayerSeconds(0.001, 0.002))


async def test_a_record_counts_at_the_context_that_is_asked_for():
    experience = Experience(NO_CARRIER)
    assert experience.seconds_per_layer(RECORD, 0) == pytest.approx(0.001)
    assert experience.seconds_per_layer(RECORD, 4096) == pytest.approx(0.009)
    assert experience.seconds_per_layer(dataclasses.replace(RECORD, decode=LayerSeconds()), 4096) is None


async def test_one_long_text_does_not_make_its_servers_look_slow_to_short_ones():
    experience = Experience(NO_CARRIER)
    experience.measured(life_of(RECORD), 0.018, context_tokens=8192)  # the record says 0.017
    assert experience.seconds_per_layer(RECORD, 8192) == pytest.approx(0.018)
    assert experience.seconds_per_layer(RECORD, 0) == pytest.approx(0.002)


async def test_a_measurement_never_makes_a_server_faster_than_it_says_it_is():
    experience = Experience(NO_CARRIER)
    experience.measured(life_of(RECORD), 0.001, context_tokens=8192)
    assert experience.seconds_per_layer(RECORD, 0) == pytest.approx(0.001)


async def test_a_server_that_answers_nonsense_is_doubted_like_one_that_is_silent():
    """Its session fails as a lost one does."""
    carrier = GrpcCarrier(ways=None)
    experience = Experience(carrier)
    async with babbling(RECORD) as liar:
        await experience.ping(liar)
        address = Address(liar.peer_id, liar.endpoints, liar.certificate)
        async with carrier.open(address, pb.Opening()) as call:
            with pytest.raises(HopFailedError, match="can't be parsed"):
                await call.frame()
    await carrier.close()

    assert experience.standing(life_of(liar), 15.0) is Standing.DOUBTED
    assert not experience.answered(life_of(liar), 15.0)


class RelayedAtFirst:
    """A carrier whose only server is reached by one way, and then by another."""

    def __init__(self) -> None:
        self.way: Way | None = Way.RELAYED

    async def ping(self, address: Address) -> Pong:
        return Pong(0.08, 0, 1000, self.way)

    def way_to(self, peer_id: PeerId) -> Way | None:
        return self.way


async def test_a_server_that_is_reached_in_another_way_is_pinged_again_and_counts_meanwhile():
    """The delay of a relay says nothing about a direct way, but the server has answered."""
    carrier, life = RelayedAtFirst(), life_of(RECORD)
    experience = Experience(carrier)  # type: ignore[arg-type]
    await experience.ping(RECORD)
    assert experience.standing(life, 15.0) is Standing.FRESH
    carrier.way = Way.PUNCHED
    assert experience.standing(life, 15.0) is Standing.ANSWERED
    assert experience.answered(life, 15.0)
    await experience.ping(RECORD)
    assert experience.standing(life, 15.0) is Standing.FRESH


async def test_a_server_whose_channel_was_closed_has_no_other_way():
    """Nobody used it for a minute."""
    carrier, life = RelayedAtFirst(), life_of(RECORD)
    experience = Experience(carrier)  # type: ignore[arg-type]
    await experience.ping(RECORD)
    carrier.way = None
    assert experience.standing(life, 15.0) is Standing.FRESH

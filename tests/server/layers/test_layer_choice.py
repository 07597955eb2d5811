"""A server chooses its layers from what is announced, and again from what others claim. No sockets."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from p2pinfer.errors import SwarmError, UsageError
from p2pinfer.identity import Identity
from p2pinfer.server.config import ServerConfig
from p2pinfer.server.layers import layer_choice
from p2pinfer.server.layers.layer_choice import LayerChoice, check_layers
from p2pinfer.server.layers.lookout import Lookout
from p2pinfer.server.placement.choice import Sizes
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.types import LayerSeconds, PeerId, Span
from tests.swarm.conftest import MODEL, describe

US = Identity.ephemeral()
TEN = Sizes.exactly(10)


class Swarm:
    """Records that tests change."""

    peer_id = US.peer_id

    def __init__(self, *records: Announcement) -> None:
        self.records = list(records)
        self.fails = False
        self.reads = 0

    async def servers(self, model: str) -> list[Announcement]:
        self.reads += 1
        if self.fails:
            raise SwarmError("no peer answers")
        return self.records


class RollCall:
    """Everybody answers who isn't a phantom."""

    is_waiting = False

    def __init__(self) -> None:
        self.closed = False

    async def call(self, records: Sequence[Announcement], wait_seconds: float) -> Mapping[PeerId, bool]:
        return {record.peer_id: not record.public_name.startswith("phantom") for record in records}

    async def close(self) -> None:
        self.closed = True


class Announced:
    """Counts claims."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.choice: LayerChoice | None = None

    async def __call__(self) -> None:
        assert self.choice is not None
        self.spans.append(self.choice.layers)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_choice, "LOOK_SECONDS", 0.001)


def server(start: int, end: int, *, state: ServerState = ServerState.SERVING, **changes: Any) -> Announcement:
    fields = {"layers": Span(start, end), "state": state, "decode": LayerSeconds(0.01)}
    return describe(Identity.ephemeral(), **(fields | changes))


def choice_in(swarm: Swarm, *, ordered: Span | None = None, sizes: Sizes = TEN) -> LayerChoice:
    store: Any = SimpleNamespace(manifest=SimpleNamespace(hash=MODEL, num_layers=30), has=lambda name: False)
    watched: Any = swarm
    lookout = Lookout(watched, store, numerics="reference-1", sizes=sizes)
    roll_call: Any = RollCall()
    return LayerChoice(lookout, roll_call, ordered=ordered, whole=Span(0, 30), leaves_at=None)


async def settle(choice: LayerChoice) -> list[Span]:
    announced = Announced()
    announced.choice = choice
    await choice.settle(announced)
    return announced.spans


async def test_an_order_is_followed_without_looking():
    swarm = Swarm(server(0, 10), server(0, 10))
    choice = choice_in(swarm, ordered=Span(3, 5))
    await choice.choose()

    assert await settle(choice) == []
    assert (choice.layers, choice.is_settled, swarm.reads) == (Span(3, 5), True, 0)


async def test_claims_count_phantoms_and_other_classes_do_not():
    swarm = Swarm(
        server(0, 10),
        server(10, 20, state=ServerState.JOINING, decode=LayerSeconds()),
        server(20, 30, numerics="other-1"),
        *(server(20, 30, public_name=f"phantom {number}") for number in range(10)),
    )
    choice = choice_in(swarm)
    await choice.choose()

    assert choice.layers == Span(20, 30)


async def test_our_own_record_of_a_former_stay_does_not_keep_us_away():
    swarm = Swarm(
        server(0, 10),
        server(10, 20),
        describe(US, layers=Span(20, 30)),
    )
    choice = choice_in(swarm)
    await choice.choose()

    assert choice.layers == Span(20, 30)


async def test_the_claim_is_settled_and_announced_as_such():
    choice = choice_in(Swarm(server(0, 10)))
    await choice.choose()
    first = choice.layers

    assert not choice.is_settled
    assert await settle(choice) == [first]
    assert choice.is_settled


async def test_a_server_moves_on_if_others_settled_for_the_same_layers_first():
    swarm = Swarm(server(0, 10), server(10, 20))
    choice = choice_in(swarm)
    await choice.choose()
    swarm.records = [
        server(0, 10),
        server(20, 30, state=ServerState.JOINING, decode=LayerSeconds()),
    ]

    assert choice.layers == Span(20, 30)
    assert set(await settle(choice)) == {Span(10, 20)}


async def test_a_swarm_that_cannot_be_read_is_not_waited_for():
    swarm = Swarm(server(0, 10))
    choice = choice_in(swarm)
    await choice.choose()
    swarm.fails = True
    before = time.monotonic()

    assert await settle(choice) == []
    assert choice.is_settled
    assert time.monotonic() - before < 20.0


def test_layers_that_the_model_lacks_are_refused(tmp_path: Path):
    config = ServerConfig.from_args(["m", "--layers", "20:31", "--data-folder", str(tmp_path)])

    with pytest.raises(UsageError, match="has layers 0:30"):
        check_layers(config, "m", 30)

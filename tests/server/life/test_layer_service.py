"""A serving period goes from layers to layers, and back if new ones can't be used."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, TypeAlias

import pytest

from p2pinfer.errors import EngineError, ModelError, StoreError, UnusableModelError
from p2pinfer.fairness.merits import Merits
from p2pinfer.server.life import layer_service
from p2pinfer.server.life.layer_service import LayerService
from p2pinfer.server.life.serving_period import ServingPeriod
from p2pinfer.server.placement.moving import Move, may_move_again
from p2pinfer.sharing.give.limits import SharingLimits
from p2pinfer.types import Span

HOME, AWAY = Span(0, 10), Span(20, 30)
GOES = Move(span=AWAY, gaps=10, weakest=0.0, then=1.0)


Outcome: TypeAlias = Move | EngineError | ModelError | None


class Stay:
    """A period whose spans end as the test says: with a move, an error, or None for the end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *outcomes: Outcome) -> None:
        self.outcomes = list(outcomes)
        self.served: list[Span] = []
        self.said: list[str] = []
        self.explained: list[str] = []
        self.withdrawn = 0
        self.moved_at: list[float] = []
        self.stops_after_first = False
        self.fails_when_ready = False
        self.period = ServingPeriod(
            say=self.said.append,
            explain=self.explained.append,
            drain_seconds=lambda: 1.0,
            ends_at=lambda: None,
            sharing_limits=SharingLimits,
        )
        self.choice = SimpleNamespace(layers=HOME)
        monkeypatch.setattr(layer_service, "open_to_peers", _open)
        monkeypatch.setattr(layer_service, "SharingService", lambda *_: None)
        monkeypatch.setattr(layer_service, "withdraw", self._withdraw)
        monkeypatch.setattr(LayerService, "_serve_span", self._serve)
        monkeypatch.setattr(LayerService, "_claim", lambda *_: None)

    async def run(self) -> None:
        config = SimpleNamespace(listen=None, announce=())
        parts: Any = dict.fromkeys(("swarm", "library", "store", "holdings"))
        parts["accounts"] = SimpleNamespace(merits=Merits())
        made: Any = LayerService(config=config, choice=self.choice, period=self.period, **parts)  # type: ignore[arg-type]
        self.moved_at = made.moved_at
        async with asyncio.timeout(30):
            await made.run()

    async def _serve(self, *_: object) -> Move | None:
        self.served.append(self.choice.layers)
        outcome = self.outcomes.pop(0)
        if not isinstance(outcome, EngineError | ModelError) or self.fails_when_ready:
            self.period.ready.set()
        if isinstance(outcome, EngineError | ModelError):
            raise outcome
        if self.stops_after_first:
            self.period.stopping.set()
        return outcome

    async def _withdraw(self, *_: object) -> None:
        self.withdrawn += 1


@asynccontextmanager
async def _open(*_: object) -> AsyncIterator[None]:
    yield


async def test_it_serves_the_layers_that_it_went_to_and_says_why(monkeypatch):
    stay = Stay(monkeypatch, GOES, None)
    await stay.run()

    assert stay.served == [HOME, AWAY]
    assert stay.explained == ["moved from layers 0:10 to 20:30: 10 of them have no other server"]
    assert not stay.withdrawn  # who ends well has done it


@pytest.mark.parametrize("kind", [EngineError, StoreError, UnusableModelError])
async def test_it_goes_back_if_the_new_layers_cannot_be_used(monkeypatch, kind):
    """And tries no others soon: for each try sessions have to move."""
    stay = Stay(monkeypatch, GOES, kind("not enough memory"), None)
    await stay.run()

    assert stay.served == [HOME, AWAY, HOME]
    assert stay.said == ["layers 20:30 can't be used: not enough memory; back to 0:10"]
    assert stay.explained[-1:] == stay.said
    assert not may_move_again(stay.moved_at, time.time())


async def test_an_engine_that_fails_at_home_or_while_it_serves_ends_the_period(monkeypatch):
    with pytest.raises(EngineError):
        await Stay(monkeypatch, EngineError("not enough memory")).run()
    stay = Stay(monkeypatch, GOES, EngineError("the computing thread failed"))
    stay.fails_when_ready = True
    with pytest.raises(EngineError):
        await stay.run()


async def test_an_owner_who_ends_it_during_a_move_waits_for_no_other_layers(monkeypatch):
    stay = Stay(monkeypatch, GOES)
    stay.stops_after_first = True
    await stay.run()

    assert stay.served == [HOME]
    assert (stay.withdrawn, stay.explained) == (1, [])

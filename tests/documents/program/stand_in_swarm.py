"""`documents run` with a model that needs no swarm."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from p2pinfer.documents.program import program
from p2pinfer.documents.program.config import RunConfig
from tests.documents.answering.asked_model import AskedModel

LAYERS = 4


class StandInSwarm:
    """Opens models that say what `answer` makes of a question. `asked` has all questions."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer: Callable[[str], str] = str.upper) -> None:
        self.answer = answer
        self.asked: list[str] = []
        self.manifest_hash = "ab" * 32
        self.context_tokens = 4_096
        self.opened = 0
        monkeypatch.setattr(program, "opened_model", self._opened)

    @asynccontextmanager
    async def _opened(self, config: RunConfig) -> AsyncIterator[Any]:
        self.opened += 1
        model = AskedModel(lambda prompt: self.answer(prompt), context_tokens=self.context_tokens)
        model.asked = self.asked
        text = SimpleNamespace(
            name="tiny",
            manifest=SimpleNamespace(hash=self.manifest_hash, num_layers=LAYERS),
            background_room=asyncio.Semaphore(4),
        )
        yield SimpleNamespace(text=text, asker=model.asker(), payer="12D3KooWpayer")

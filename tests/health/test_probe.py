"""What the page tells of its own attempts, whatever came of them."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from p2pinfer.client.greedy import Generation
from p2pinfer.client.session import HopReport
from p2pinfer.errors import NoRouteError, SwarmUnreachableError
from p2pinfer.health import probe
from p2pinfer.health.config import HealthConfig
from p2pinfer.health.probe import PROMPT, probe_once, probing
from p2pinfer.health.snapshot.state import ProbeView
from p2pinfer.types import PeerId, Span


class Client:
    """Generates, or fails, as a test says."""

    def __init__(self, outcome: Generation | Exception, vocab_size: int = 1000) -> None:
        self.manifest: Any = type("Manifest", (), {"hash": "ab" * 32, "vocab_size": vocab_size})()
        self.outcome = outcome
        self.prompts: list[list[int]] = []
        self.closed = threading.Event()

    def generate(self, prompt: list[int], count: int) -> Generation:
        self.prompts.append(prompt)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def close(self) -> None:
        self.closed.set()


WORKED = Generation(
    tokens=[1, 2, 3, 4, 5],
    first_token_seconds=0.2,
    seconds=0.6,
    route=[HopReport(PeerId("12D3KooWabcdef"), Span(0, 4), 5, 0.1, 0.0)],
)


def test_what_worked_is_told_with_its_route_and_pace():
    view = probe_once(Client(WORKED), 5)
    assert (view.works, view.detail, view.first_token_seconds) == (True, "", 0.2)
    assert view.tokens_per_second == pytest.approx(10.0)
    assert view.route == (("…abcdef", 0, 4),)


def test_what_failed_is_told_in_one_clean_line():
    view = probe_once(Client(NoRouteError("no server for layers 0-3\x1b[31m" + "x" * 500)), 5)
    assert not view.works
    assert view.detail.startswith("no server for layers 0-3")
    assert len(view.detail) <= 200 and view.detail.isprintable()
    assert (view.first_token_seconds, view.tokens_per_second, view.route) == (None, None, ())


def test_the_prompt_uses_only_tokens_that_the_model_has():
    client = Client(WORKED, vocab_size=8)
    probe_once(client, 5)
    assert client.prompts == [[token % 8 for token in PROMPT]]


async def test_models_are_probed_at_once_and_their_clients_leave_at_the_end(monkeypatch):
    client = Client(WORKED)
    monkeypatch.setattr(probe, "open_client", lambda config, model: client)
    config = HealthConfig.from_args(["--initial-peers", "/ip4/192.0.2.7/tcp/1/p2p/x", "--probe", "m"])
    found: asyncio.Queue[tuple[str, ProbeView]] = asyncio.Queue()
    with probing(config, lambda model, view: found.put_nowait((model, view))):
        model, view = await asyncio.wait_for(found.get(), 5)
    assert (model, view.works) == ("ab" * 32, True)
    assert await asyncio.to_thread(client.closed.wait, 5)


async def test_a_probe_that_cannot_begin_yet_is_no_end_of_the_page(monkeypatch, caplog):
    tried = threading.Event()

    def fail(config: HealthConfig, model: str) -> Client:
        tried.set()
        raise SwarmUnreachableError("nobody answers")

    monkeypatch.setattr(probe, "open_client", fail)
    config = HealthConfig.from_args(["--initial-peers", "/ip4/192.0.2.7/tcp/1/p2p/x", "--probe", "m"])
    with probing(config, lambda model, view: None):
        assert await asyncio.to_thread(tried.wait, 5)

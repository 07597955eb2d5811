"""What the page tells of its own attempts, whatever came of them."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from p2pinfer.client.plain import Answer
from p2pinfer.client.texts.request import RouteHop, RouteView, TextEnd
from p2pinfer.errors import NoRouteError, SwarmUnreachableError
from p2pinfer.health import probe
from p2pinfer.health.config import HealthConfig
from p2pinfer.health.probe import PROMPT, Probe, probe_once, probes_of
from p2pinfer.health.snapshot.state import ProbeView
from p2pinfer.tasks import ending
from p2pinfer.types import PeerId, Span, Way


class Client:
    """Generates, or fails, as a test says."""

    def __init__(self, outcome: Answer | Exception, vocab_size: int = 1000) -> None:
        self.manifest: Any = type("Manifest", (), {"hash": "ab" * 32, "vocab_size": vocab_size})()
        self.outcome = outcome
        self.prompts: list[list[int]] = []
        self.closed = threading.Event()

    def generate(self, prompt: list[int], **options: Any) -> Answer:
        self.prompts.append(prompt)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def close(self) -> None:
        self.closed.set()


class Generating(Client):
    """Generates until it is closed."""

    def __init__(self) -> None:
        super().__init__(WORKED)
        self.began = threading.Event()

    def generate(self, prompt: list[int], **options: Any) -> Answer:
        self.began.set()
        assert self.closed.wait(60)
        raise asyncio.CancelledError  # as a client's network does whose tasks are cancelled


WORKED = Answer(
    text="",
    end=TextEnd(reason="length", stop=None, prompt_tokens=16, cached_tokens=0, completion_tokens=5),
    tokens=[1, 2, 3, 4, 5],
    first_token_seconds=0.2,
    seconds=0.6,
    route=RouteView(
        hops=(
            RouteHop(peer_id=PeerId("12D3KooWabcdef"), layers=Span(0, 4), ms_per_token=20.0, way=Way.PUNCHED),
        ),
        events=(),
    ),
)


def test_what_worked_is_told_with_its_route_and_pace():
    view = probe_once(Client(WORKED), 5)
    assert (view.works, view.detail, view.first_token_seconds) == (True, "", 0.2)
    assert view.tokens_per_second == pytest.approx(10.0)
    assert view.route == (("…abcdef", 0, 4),)
    assert view.route_ways == (Way.PUNCHED,)


def test_what_failed_is_told_in_one_clean_line():
    view = probe_once(Client(NoRouteError("no server for layers 0-3\x1b[31m" + "x" * 500)), 5)
    assert not view.works
    assert view.detail.startswith("no server for layers 0-3")
    assert len(view.detail) <= 200 and view.detail.isprintable()
    assert (view.first_token_seconds, view.tokens_per_second, view.route) == (None, None, ())


def test_a_server_whose_answer_brings_out_a_fault_is_a_failed_probe(caplog):
    """Otherwise the page would go on showing the last success."""
    view = probe_once(Client(ZeroDivisionError("a fault")), 5)
    assert not view.works
    assert "p2pinfer has a fault" in view.detail
    assert "ZeroDivisionError" in caplog.text


def test_the_prompt_uses_only_tokens_that_the_model_has():
    client = Client(WORKED, vocab_size=8)
    probe_once(client, 5)
    assert client.prompts == [[token % 8 for token in PROMPT]]


CONFIG = HealthConfig.from_args(["--initial-peers", "/ip4/192.0.2.7/tcp/1/p2p/x", "--probe", "m"])


async def test_models_are_probed_at_once_and_their_clients_leave_at_the_end(monkeypatch):
    client = Client(WORKED)
    monkeypatch.setattr(probe, "open_client", lambda config, model: client)
    found: asyncio.Queue[tuple[str, ProbeView]] = asyncio.Queue()
    async with probes_of(CONFIG) as [one]:
        async with ending(asyncio.create_task(one.probe_forever(300.0, put_into(found)))):
            model, view = await asyncio.wait_for(found.get(), 30)
    assert (model, view.works) == ("ab" * 32, True)
    assert client.closed.is_set()
    assert not one.is_left_behind


@pytest.mark.parametrize("error", [SwarmUnreachableError("nobody answers"), RuntimeError("a fault of ours")])
async def test_a_probe_that_cannot_begin_yet_is_tried_again(error: Exception, caplog):
    """It ends neither the page nor its own thread, whatever goes wrong."""
    outcomes = [error, error]

    def open_client() -> Client:
        if outcomes:
            raise outcomes.pop()
        return Client(WORKED)

    found: asyncio.Queue[tuple[str, ProbeView]] = asyncio.Queue()
    one = Probe(open_client, tokens=5)
    async with ending(asyncio.create_task(one.probe_forever(0.01, put_into(found)))):
        _, view = await asyncio.wait_for(found.get(), 30)
    assert view.works
    await one.close()


async def test_a_probe_that_hangs_is_broken_off_at_the_end_of_the_page(monkeypatch):
    """A swarm that hangs when Ctrl-C comes holds the page up for some seconds only."""
    monkeypatch.setattr(probe, "CLOSE_SECONDS", 0.05)
    client = Generating()
    one = Probe(lambda: client, tokens=5)
    async with ending(asyncio.create_task(one.probe())):
        assert await asyncio.to_thread(client.began.wait, 60)
        await one.close()
    assert client.closed.is_set()
    assert one.is_left_behind


async def test_a_client_that_opens_while_the_page_ends_is_closed_again():
    """Ctrl-C comes while the probe joins the swarm."""
    client, may_open, opens = Client(WORKED), threading.Event(), threading.Event()

    def open_client() -> Client:
        opens.set()
        assert may_open.wait(60)
        return client

    one = Probe(open_client, tokens=5)
    async with ending(asyncio.create_task(one.probe())):
        assert await asyncio.to_thread(opens.wait, 60)
        async with ending(asyncio.create_task(one.close())) as closing:
            await asyncio.sleep(0)
            may_open.set()
            await closing
    assert client.closed.is_set()
    assert not one.is_left_behind


async def test_a_probe_that_converts_a_model_is_left_to_the_end_of_the_process(monkeypatch):
    """It can't be broken off, and a page that is stopped must not wait for minutes."""
    monkeypatch.setattr(probe, "CLOSE_SECONDS", 0.05)
    may_open, opens = threading.Event(), threading.Event()

    def open_client() -> Client:
        opens.set()
        may_open.wait(60)
        return Client(WORKED)

    one = Probe(open_client, tokens=5)
    async with ending(asyncio.create_task(one.probe())):
        assert await asyncio.to_thread(opens.wait, 60)
        await one.close()
    assert one.is_left_behind
    may_open.set()


def put_into(queue: asyncio.Queue[tuple[str, ProbeView]]) -> probe.Found:
    """A callback that keeps what was found."""
    return lambda model, view: queue.put_nowait((model, view))

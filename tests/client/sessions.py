"""Tools of client tests: a session against a swarm of fakes, and a text from it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from p2pinfer.client.network import Network
from p2pinfer.client.patience import Patience
from p2pinfer.client.session import InferenceSession
from p2pinfer.identity import Identity
from p2pinfer.types import Span
from tests.fakes import FakeEnds, FakeSwarm, fake_manifest

T = TypeVar("T")
THREE = (Span(0, 2), Span(2, 4), Span(4, 6))


async def in_client(swarm: FakeSwarm, work: Callable[[Network], T], num_layers: int = 6) -> T:
    """Run blocking client code in a thread, as a program would, against the swarm in this loop."""

    @asynccontextmanager
    async def join(_):
        yield swarm

    def program() -> T:
        network = Network(join, Identity.ephemeral())
        network.follow(fake_manifest(num_layers))
        try:
            return work(network)
        finally:
            network.close()

    return await asyncio.to_thread(program)


def session_of(
    network: Network,
    *,
    num_layers: int = 6,
    max_length: int | None = 256,
    route: float = 20.0,
    step: float = 5.0,
) -> InferenceSession:
    return InferenceSession(
        network,
        fake_manifest(num_layers),
        FakeEnds(),
        max_length=max_length,
        patience=Patience(route=route, step=step),
    )


def decode(session: InferenceSession, prompt: list[int], tokens: int, after=lambda index: None) -> list[int]:
    """Take `tokens` greedy tokens one by one; `after` is called with the index of each."""
    ends, row = FakeEnds(), list(prompt)
    for index in range(tokens):
        (hidden,) = session.compute([row], [1])
        row.append(int(ends.logits(hidden).argmax()))
        after(index)
    return row[len(prompt) :]

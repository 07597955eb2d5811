"""What an attack gets: whom it attacks, from which addresses, with which numbers; and what it heard."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc

from p2pinfer.errors import P2PInferError
from p2pinfer.swarm.records.announcement import Announcement, decode
from p2pinfer.tasks import Nursery
from p2pinfer.wire.status import refusal_of

_MOST_REASONS = 40


@dataclass(slots=True)
class Tally:
    """What an attack did, and what it was told."""

    counts: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)  # by reason
    notes: dict[str, Any] = field(default_factory=dict)

    def refused(self, error: BaseException) -> None:
        """Count why something was not given."""
        reason = reason_of(error)
        if reason in self.refusals or len(self.refusals) < _MOST_REASONS:
            self.refusals[reason] += 1

    def as_json(self) -> dict[str, Any]:
        """For the attacker's report."""
        return {"counts": dict(self.counts), "refusals": dict(self.refusals), "notes": self.notes}


def reason_of(error: BaseException) -> str:
    """One word for why a call or a connection failed: the server's own, where it gave one."""
    if isinstance(error, grpc.aio.AioRpcError):
        refused = refusal_of(error)
        return str(refused.reason) if refused is not None else f"grpc {error.code().name}"
    return type(error).__name__


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Where an attack takes place. `numbers` are those of the attack; rates are for all addresses."""

    model: str  # manifest hash
    hidden_size: int
    initial_peers: tuple[str, ...]
    servers: tuple[Announcement, ...]  # one for each third of the layers, in their order
    page: tuple[str, int]
    sources: tuple[str, ...]  # IP addresses of this machine to come from
    numbers: Mapping[str, float]
    store: str
    tally: Tally = field(default_factory=Tally)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by the attack when all is prepared: its time is counted from then on."""

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Scene:
        """Read the attacker's parameters."""
        return cls(
            model=parameters["model"],
            hidden_size=parameters["hidden_size"],
            initial_peers=tuple(parameters["initial_peers"]),
            servers=tuple(decode(bytes.fromhex(record)) for record in parameters["records"]),
            page=("127.0.0.1", parameters["page_port"]),
            sources=tuple(parameters["sources"]),
            numbers=parameters["numbers"],
            store=parameters["store"],
        )

    @property
    def last(self) -> Announcement:
        """The server of the last layers: a session there needs no next hop."""
        return self.servers[-1]

    def number(self, name: str) -> int:
        """One of the attack's whole numbers."""
        return int(self.numbers[name])

    def source(self, index: int) -> str:
        """The address of the guest with this number: they take turns."""
        return self.sources[index % len(self.sources)]


async def for_ever(scene: Scene, count: int, work: Callable[[int], Awaitable[None]], *, rate: float) -> None:
    """Let `count` guests work side by side, again and again, until this is cancelled.

    A guest whose work ends, well or not, begins anew; all of them together begin at most `rate` times a
    second, so that the attacker doesn't measure itself against the machine's scheduler.
    """
    due = time.monotonic()
    scene.begun.set()

    async def one(index: int) -> None:
        nonlocal due
        while True:
            due = max(due + 1 / rate, time.monotonic())
            await asyncio.sleep(due - time.monotonic())
            scene.tally.counts["attempts"] += 1
            try:
                await work(index)
            except (grpc.aio.AioRpcError, OSError, EOFError, P2PInferError) as error:
                scene.tally.refused(error)

    async with Nursery() as nursery:
        for index in range(count):
            nursery.start(one(index))
        await asyncio.Event().wait()

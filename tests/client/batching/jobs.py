"""Jobs whose texts take the likeliest token, against a swarm of fakes."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from p2pinfer.client.batching.row_job import RowJob
from p2pinfer.client.batching.row_pool import PoolLimits, RowPool
from p2pinfer.client.batching.session_environment import Prefixes, SessionEnvironment
from p2pinfer.client.network import Network
from p2pinfer.client.patience import Patience
from p2pinfer.client.prefixes.names import Names
from p2pinfer.client.prefixes.prefix_index import PrefixIndex
from p2pinfer.client.route.aim import Aim
from p2pinfer.identity import Identity
from p2pinfer.wire import inference_pb2 as pb
from tests.fakes import FakeEnds, FakeSwarm, fake_manifest

SECONDS = 20.0


@dataclass
class Greedy:
    count: int
    after: object = None
    tokens: list[int] = field(default_factory=list)

    def advance(self, logits):
        self.tokens.append(int(logits.argmax()))
        if self.after is not None:
            self.after(len(self.tokens))
        return None if len(self.tokens) == self.count else self.tokens[-1]


class Jobs:
    """A pool, and jobs that are awaited."""

    def __init__(self, pool: RowPool) -> None:
        self.pool = pool

    def begin(self, prompt: list[int], count: int, after=None, **options) -> tuple[RowJob, asyncio.Event]:
        changed = asyncio.Event()
        job = RowJob(
            prompt=prompt, continuation=Greedy(count, after), on_news=lambda: changed.set(), **options
        )
        self.pool.submit(job)
        return job, changed

    async def end(self, begun: tuple[RowJob, asyncio.Event]) -> list[int]:
        job, changed = begun
        async with asyncio.timeout(SECONDS):
            while not job.has_ended:
                changed.clear()
                await changed.wait()
        if job.error is not None:
            raise job.error
        return job.continuation.tokens

    async def text(self, prompt: list[int], count: int, after=None) -> list[int]:
        return await self.end(self.begin(prompt, count, after))


@asynccontextmanager
async def jobs_in(
    swarm: FakeSwarm,
    *,
    num_layers: int = 6,
    route: float = 20.0,
    identity: Identity | None = None,
    reuses: bool = True,
    wire_dtype: pb.WireDtype = pb.FLOAT32,
    **limits,
):
    """A pool in this loop, whose network is in a thread of its own as always."""

    @asynccontextmanager
    async def join(_):
        yield swarm

    def start() -> Network:
        network = Network(join, identity or Identity.ephemeral())
        network.follow(fake_manifest(num_layers))
        return network

    network = await asyncio.to_thread(start)
    environment = SessionEnvironment(
        network=network,
        manifest=fake_manifest(num_layers),
        ends=FakeEnds(),
        patience=Patience(route=route, step=5.0),
        loop=asyncio.get_running_loop(),
        prefixes=Prefixes(
            index=PrefixIndex(),
            names=Names(network.payer.identity, model="fake", wire_dtype=wire_dtype),
        ),
        reuses=reuses,
    )
    settings = {"rows": 4, "session_tokens": 1024, "shortest_row": 64, "answer_tokens": 16} | limits
    pool = RowPool(environment, PoolLimits(**settings), wire_dtype=wire_dtype, aim=Aim.LATENCY)
    try:
        yield Jobs(pool)
    finally:
        pool.close()
        await asyncio.to_thread(network.close)

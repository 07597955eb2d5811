"""A tiny random model in a swarm of this process, with real engines: what transformers' users call."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace

from p2pinfer.client.generation import DistributedCausalLM
from p2pinfer.client.network import Network
from p2pinfer.client.patience import Patience
from p2pinfer.client.remote_model import RemoteModel
from p2pinfer.identity import Identity
from p2pinfer.model.ends import ClientEnds
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.types import Span
from tests.fakes import MODEL, FakeSwarm, fake_swarm
from tests.model.tiny_models import reference

SPANS = (Span(0, 2), Span(2, 4))


@contextmanager
def tiny_model_in_a_swarm(
    store: LayerStore, *, cache_tokens: int = 16384, route_seconds: float = 20.0
) -> Iterator[DistributedCausalLM]:
    """The model of a tiny store, its four layers at two servers in another thread."""
    served = LayerStore(store.folder, replace(store.manifest, hash=MODEL), store.config_fields)
    with _servers(served, cache_tokens) as swarm:

        @asynccontextmanager
        async def join(_):
            yield swarm

        network = Network(join, Identity.ephemeral())
        network.follow(served.manifest)
        remote = RemoteModel(
            served, ClientEnds.load(served), network, patience=Patience(route=route_seconds, step=5.0)
        )
        with DistributedCausalLM(remote) as model:
            yield model


@contextmanager
def _servers(store: LayerStore, cache_tokens: int) -> Iterator[FakeSwarm]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    stack = AsyncExitStack()

    async def start() -> FakeSwarm:
        return await stack.enter_async_context(
            fake_swarm(SPANS, cache_tokens=cache_tokens, engine_of=lambda span: reference(store, span))
        )

    try:
        yield asyncio.run_coroutine_threadsafe(start(), loop).result()
    finally:
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

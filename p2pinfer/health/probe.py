"""Generates a few tokens through the swarm now and then: a measurement, not the servers' own figures."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

from p2pinfer.client.batching.row_pool import PoolLimits
from p2pinfer.client.patience import Patience
from p2pinfer.client.plain import PlainClient
from p2pinfer.errors import P2PInferError, SwarmError
from p2pinfer.health.config import HealthConfig
from p2pinfer.health.snapshot.state import ProbeView
from p2pinfer.plain_text import printable
from p2pinfer.tasks import all_of
from p2pinfer.threads import BackgroundThread, in_thread
from p2pinfer.types import short_id

logger = logging.getLogger(__name__)

PROMPT = tuple(range(11, 27))
"""Token ids that any model of some size has. The answer is thrown away."""

CLOSE_SECONDS = 4.0
"""How long the end of the page waits for a running probe. A healthy swarm answers by then, also if the probe
has just begun to join it. A model that is being fetched or converted takes longer."""

BREAK_OFF_SECONDS = 3.0
"""How long a client may take to leave the swarm in the middle of a generation."""

_PATIENCE = Patience(route=10.0, step=10.0)
_ALWAYS_ANEW = PoolLimits(unused_seconds=0.0)
"""Nothing is kept between two probes, which would make the next one quick, and hold the servers' memory."""

_DETAIL_CHARACTERS = 200

Found = Callable[[str, ProbeView], None]
"""Called with a model's manifest hash and the result."""


class Probe:
    """Probes one model in a thread of its own: a swarm that hangs must not hang the page.

    For the event loop. End it with `close`.
    """

    def __init__(self, open_client: Callable[[], PlainClient], *, tokens: int) -> None:
        self._open_client = open_client
        self._tokens = tokens
        self._thread = BackgroundThread("probe")
        self._client: PlainClient | None = None
        self._is_closed = False
        self.is_left_behind = False
        """True after `close` if the thread may still be busy. Then the process must not wait for it."""

    async def probe(self) -> tuple[str, ProbeView]:
        """Generate some tokens. Returns the model's manifest hash and the result.

        The first call opens the client, and raises ModelError or SwarmError if that fails.
        """
        return await self._thread.run(self._probe)

    async def probe_forever(self, seconds: float, found: Found) -> None:
        """Probe again and again, with pauses of `seconds`, until cancelled."""
        while True:
            try:
                found(*await self.probe())
            except P2PInferError as error:
                logger.warning("the probe can't begin: %s", error)
            except Exception:
                logger.exception("the probe can't begin because of a fault of p2pinfer")
            await asyncio.sleep(seconds)

    async def close(self) -> None:
        """Leave the swarm, at the end of a running probe or by breaking it off. Never raises.

        Takes at most CLOSE_SECONDS + BREAK_OFF_SECONDS.
        """
        self._is_closed = True
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._thread.run(self._leave)
        except Exception:  # noqa: BLE001 - TimeoutError, or a client that can't leave: both end with the process
            self.is_left_behind = True
            with suppress(Exception):
                async with asyncio.timeout(BREAK_OFF_SECONDS):
                    if self._client is not None:
                        await in_thread(self._client.close, name="probe-close")
        self._thread.close()

    def _leave(self) -> None:
        if self._client is not None:
            self._client.close()

    def _probe(self) -> tuple[str, ProbeView]:
        if self._client is None:
            self._client = self._open_client()
        if self._is_closed:
            raise SwarmError("the page ends")
        try:
            return self._client.manifest.hash, probe_once(self._client, self._tokens)
        except asyncio.CancelledError as error:  # of the client's own loop, not of our caller
            raise SwarmError("the probe was broken off") from error


@asynccontextmanager
async def probes_of(config: HealthConfig) -> AsyncIterator[list[Probe]]:
    """A probe for each model of --probe. The end of the block closes them."""
    probes = [
        Probe(partial(open_client, config, model), tokens=config.probe_tokens)
        for model in config.probe_models
    ]
    try:
        yield probes
    finally:
        await all_of(*(probe.close() for probe in probes))


def open_client(config: HealthConfig, model: str) -> PlainClient:
    """A client of this model. Raises ModelError, SwarmUnreachableError."""
    return PlainClient(
        model,
        initial_peers=config.initial_peers,
        cache_folder=config.cache_folder,
        patience=_PATIENCE,
        limits=_ALWAYS_ANEW,
        progress=logger.info,
    )


def probe_once(client: PlainClient, tokens: int) -> ProbeView:
    """Generate some tokens. Returns the result; a failure is a result too."""
    try:
        made = client.generate(
            [token % client.manifest.vocab_size for token in PROMPT],
            max_tokens=tokens,
            end_tokens=frozenset(),
        )
    except P2PInferError as error:
        return _failed(str(error))
    except Exception:
        # Whatever a server has answered: the page must not go on showing an earlier success.
        logger.exception("the probe failed because of a fault of p2pinfer")
        return _failed("p2pinfer has a fault; this page's operator finds it in the log")
    return ProbeView(
        at=time.time(),
        works=True,
        detail="",
        first_token_seconds=made.first_token_seconds,
        tokens_per_second=made.tokens_per_second,
        route=tuple((short_id(hop.peer_id), hop.layers.start, hop.layers.end) for hop in made.route.hops),
        route_ways=tuple(hop.way for hop in made.route.hops),
    )


def _failed(reason: str) -> ProbeView:
    return ProbeView(
        at=time.time(),
        works=False,
        detail=printable(reason, _DETAIL_CHARACTERS),
        first_token_seconds=None,
        tokens_per_second=None,
        route=(),
        route_ways=(),
    )

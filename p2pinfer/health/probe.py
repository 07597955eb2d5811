"""Generates a few tokens through the swarm now and then: a measurement, not the servers' own figures."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from p2pinfer.client.greedy import GreedyClient
from p2pinfer.client.patience import Patience
from p2pinfer.errors import P2PInferError
from p2pinfer.health.config import HealthConfig
from p2pinfer.health.snapshot.state import ProbeView
from p2pinfer.plain_text import printable
from p2pinfer.threads import tell
from p2pinfer.types import short_id

logger = logging.getLogger(__name__)

PROMPT = tuple(range(11, 27))
"""Token ids that any model of some size has. The answer is thrown away."""

_PATIENCE = Patience(route=10.0, step=10.0)
_DETAIL_CHARACTERS = 200

Found = Callable[[str, ProbeView], None]
"""Called with a model's manifest hash and the result."""


class Probe:
    """Probes one model again and again, in its own thread: a swarm that hangs must not hang the page."""

    def __init__(
        self, open_client: Callable[[], GreedyClient], *, seconds: float, tokens: int, found: Found
    ) -> None:
        self._open_client = open_client
        self._seconds = seconds
        self._tokens = tokens
        self._found = found
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._probe_forever, name="probe", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Start no further probe. A running one ends by itself."""
        self._ended.set()

    def _probe_forever(self) -> None:
        client: GreedyClient | None = None
        while not self._ended.is_set():
            try:
                if client is None:
                    client = self._open_client()
            except P2PInferError as error:
                logger.warning("the probe can't begin: %s", error)
            else:
                self._found(client.manifest.hash, probe_once(client, self._tokens))
            self._ended.wait(self._seconds)
        if client is not None:
            client.close()


@contextmanager
def probing(config: HealthConfig, found: Found) -> Iterator[None]:
    """Probe every model of --probe until the block ends. `found` is called in this event loop."""
    loop = asyncio.get_running_loop()

    probes = [
        Probe(
            partial(open_client, config, model),
            seconds=config.probe_seconds,
            tokens=config.probe_tokens,
            found=partial(tell, loop, found),
        )
        for model in config.probe_models
    ]
    try:
        yield
    finally:
        for probe in probes:
            probe.close()


def open_client(config: HealthConfig, model: str) -> GreedyClient:
    """A client of this model. Raises ModelError, SwarmUnreachableError."""
    return GreedyClient(
        model,
        initial_peers=config.initial_peers,
        cache_folder=config.cache_folder,
        patience=_PATIENCE,
        progress=logger.info,
    )


def probe_once(client: GreedyClient, tokens: int) -> ProbeView:
    """Generate some tokens. Returns the result; a failure is a result too."""
    try:
        made = client.generate([token % client.manifest.vocab_size for token in PROMPT], tokens)
    except P2PInferError as error:
        return ProbeView(
            at=time.time(),
            works=False,
            detail=printable(str(error), _DETAIL_CHARACTERS),
            first_token_seconds=None,
            tokens_per_second=None,
            route=(),
        )
    return ProbeView(
        at=time.time(),
        works=True,
        detail="",
        first_token_seconds=made.first_token_seconds,
        tokens_per_second=made.tokens_per_second,
        route=tuple((short_id(hop.peer_id), hop.layers.start, hop.layers.end) for hop in made.route),
    )

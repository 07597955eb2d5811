"""Reads the records of a model's servers again and again, in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from p2pinfer.errors import SwarmError
from p2pinfer.identity import Identity
from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.types import Span
from scripts.benchmarks.identities.paid import paid_identities
from scripts.benchmarks.swarm.phantoms import announce_phantoms
from scripts.benchmarks.swarm.spread import Seen, Sighting

POLL_SECONDS = 0.1
"""Between two looks: each costs the swarm a search, and the machine some milliseconds."""
JOIN_SECONDS = 60.0


class Watch:
    """A context manager. `sightings` grows while it is open."""

    def __init__(self, initial_peers: Sequence[str], manifest: Manifest, *, phantoms: int = 0) -> None:
        """`phantoms`: how many servers that don't exist to announce first, for the last two thirds."""
        self.sightings: list[Sighting] = []
        self._initial_peers = list(initial_peers)
        self._manifest = manifest
        self._phantoms = phantoms
        self._joined, self._ending = threading.Event(), threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._joined.wait()
        if self._error is not None:
            raise self._error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join()

    @property
    def latest(self) -> Sighting:
        """What was seen last."""
        return self.sightings[-1] if self.sightings else Sighting(time.monotonic(), ())

    def _run(self) -> None:
        try:
            with paid_identities(self._phantoms) as phantoms:
                asyncio.run(self._watch(phantoms))
        except SwarmError as error:
            self._error = error
        finally:
            self._joined.set()

    async def _watch(self, phantoms: Sequence[Identity]) -> None:
        async with Swarm.join(
            self._initial_peers,
            Identity.ephemeral(),
            listen_maddrs=("/ip4/127.0.0.1/tcp/0",),
            client_only=not phantoms,
            startup_timeout_seconds=JOIN_SECONDS,
        ) as swarm:
            if phantoms:
                layers = Span(self._manifest.num_layers // 3, self._manifest.num_layers)
                await announce_phantoms(swarm, self._manifest, layers, phantoms)
            self._joined.set()
            while not self._ending.is_set():
                with contextlib.suppress(SwarmError):
                    records = await swarm.servers(self._manifest.hash)
                    self.sightings.append(Sighting(time.monotonic(), tuple(map(_seen, records))))
                await asyncio.sleep(POLL_SECONDS)


def _seen(record: Announcement) -> Seen:
    is_serving = record.state is ServerState.SERVING
    is_settled = is_serving or (record.state is ServerState.JOINING and not record.is_undecided)
    return Seen(record.peer_id, record.layers, is_settled, is_serving)

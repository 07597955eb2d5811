"""Watches a swarm: reads every model's records again and again, and keeps the newest snapshot.

It is a client: it announces nothing, and no server knows or needs it.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

from p2pinfer import __version__
from p2pinfer.client.reach.grpc_carrier import GrpcCarrier
from p2pinfer.errors import DatabaseError, P2PInferError, UsageError
from p2pinfer.health.config import HealthConfig
from p2pinfer.health.faults import Faults
from p2pinfer.health.kept.contributions import Contributions
from p2pinfer.health.kept.history import History
from p2pinfer.health.presence import Ping, ServerPresence
from p2pinfer.health.reading import ReadableSwarm, read_swarm
from p2pinfer.health.snapshot.report import SwarmReading, make_sample, make_state
from p2pinfer.health.snapshot.sampled import CellLabels
from p2pinfer.health.snapshot.source import MAX_BUNDLE_BYTES, Submission
from p2pinfer.health.snapshot.state import ContributionView, HealthState, ProbeView, Sample
from p2pinfer.identity import Identity
from p2pinfer.swarm.membership.kept_peers import KeptPeers
from p2pinfer.swarm.records.announcement import Announcement
from p2pinfer.swarm.remembering import join_remembering
from p2pinfer.swarm.swarm import Swarm

_STALE_SECONDS = 30.0
_SAMPLE_SECONDS = 60.0
_NEXT_SECONDS = 0.001
"""Added to the time of a later snapshot of the same reading (after a probe), so that it counts as newer."""

_RETRY_SECONDS = 5.0
_OWN_FAULT = "this page has a fault; its operator finds the error in the log"


class Watcher:
    """The `HealthSource` of a page. For the event loop."""

    def __init__(
        self,
        config: HealthConfig,
        history: History,
        contributions: Contributions,
        *,
        kept_peers: KeptPeers | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`kept_peers` is where whom the page met is kept for its next start; None: nowhere."""
        self._config = config
        self._kept_peers = kept_peers
        self._history = history
        self._contributions = contributions
        self._now = now
        self._reading = SwarmReading(models={})
        self._read_at = now()
        self._trouble = "the swarm hasn't been read yet"
        self._first_seen: dict[str, float] = {}
        self._names: dict[str, str] = {}
        self._probes: dict[str, ProbeView] = {}
        self._faults = Faults()
        self._labels = CellLabels(now)
        self._presence = ServerPresence(late_seconds=config.late_seconds, now=now, faults=self._faults)
        self._last_board: Sequence[ContributionView] = ()
        self._sampled_at = 0.0
        self._newer = asyncio.Event()
        self._published_at = self._read_at
        self._state = self._make_state()

    def state(self) -> HealthState:
        """The newest snapshot."""
        return self._state

    def history(self, model: str, hours: float) -> Sequence[Sample]:
        """Samples of a model, oldest first."""
        try:
            return self._history.samples(model, since=self._now() - hours * 3600)
        except DatabaseError as error:
            self._faults.note(f"history can't be read: {error}", error)
            return ()

    async def wait_newer(self, than: float) -> HealthState:
        """The next snapshot generated after `than`."""
        while self._state.generated_at <= than:
            self._newer.clear()
            await self._newer.wait()
        return self._state

    async def submit(self, bundle: AsyncIterator[bytes]) -> Submission:
        """Add receipts to the leaderboard. Raises UsageError if it is no bundle, or too large."""
        with tempfile.TemporaryFile() as file:
            async for part in bundle:
                if file.tell() + len(part) > MAX_BUNDLE_BYTES:
                    raise UsageError(
                        f"a bundle has at most {MAX_BUNDLE_BYTES // 10**6} MB: send one month at a time"
                    )
                file.write(part)
            file.seek(0)
            submission = await asyncio.to_thread(self._contributions.submit, file)
        self._publish()
        return submission

    def note_probe(self, model: str, probe: ProbeView) -> None:
        """Show the result of a probe."""
        self._probes[model] = probe
        self._publish()

    async def watch_forever(self) -> None:
        """Join and look, again and again. While the swarm can't be reached, say so and retry.

        Raises UsageError if an address to join by is malformed. Nothing that a swarm contains ends the watch.
        """
        while True:
            try:
                async with self._joined() as (swarm, carrier):
                    await self._watch(swarm, carrier)
            except UsageError:
                raise
            except P2PInferError as error:
                self.note_trouble(str(error))
            except Exception as error:  # noqa: BLE001 - a fault of ours: the page says that it is old
                self._note_fault("the page can't take part in the swarm", error)
            await asyncio.sleep(_RETRY_SECONDS)

    async def watch_once(self) -> None:
        """Join, look once, and leave. Raises SwarmError."""
        async with self._joined() as (swarm, carrier):
            await self.look(swarm, carrier.ping)

    @asynccontextmanager
    async def _joined(self) -> AsyncIterator[tuple[Swarm, GrpcCarrier]]:
        """Membership as a client, and a carrier for pings. Raises SwarmError."""
        join = Swarm.join if self._kept_peers is None else partial(join_remembering, self._kept_peers)
        async with join(self._config.initial_peers, Identity.ephemeral(), client_only=True) as swarm:
            carrier = GrpcCarrier(ways=swarm.ways)
            try:
                yield swarm, carrier
            finally:
                await carrier.close()

    async def look(self, swarm: ReadableSwarm, ping: Ping) -> None:
        """Read all models once, and publish the snapshot. Raises SwarmError."""
        self._reading = await read_swarm(
            swarm, self._presence, ping, last=self._reading, faults=self._faults, labels=self._labels
        )
        self._read_at, self._trouble = self._now(), ""
        self._note_servers(server for servers in self._reading.models.values() for server in servers)
        self._publish()
        self._sample()

    async def _watch(self, swarm: Swarm, carrier: GrpcCarrier) -> None:
        """Look again and again, whatever comes of a look: the membership recovers by itself."""
        while True:
            try:
                await self.look(swarm, carrier.ping)
            except P2PInferError as error:
                self.note_trouble(str(error))
            except Exception as error:  # noqa: BLE001 - the next look may be luckier
                self._note_fault("a look at the swarm failed", error)
            await asyncio.sleep(self._config.refresh_seconds)

    def _note_servers(self, servers: Iterable[Announcement]) -> None:
        """Remember since when each server has been present without a break, and its public name."""
        now = self._now()
        present = {server.peer_id: server.public_name for server in servers}
        self._first_seen = {peer_id: self._first_seen.get(peer_id, now) for peer_id in present}
        self._names.update({peer_id: name for peer_id, name in present.items() if name})
        while len(self._names) > 10_000:
            self._names.pop(next(iter(self._names)))

    def note_trouble(self, words: str) -> None:
        """The swarm couldn't be read. Soon the page says so."""
        told, self._trouble = self._trouble, words
        fresh = self._is_fresh()
        if fresh != self._state.fresh or (not fresh and told != self._trouble):
            self._publish()

    def _note_fault(self, words: str, error: Exception) -> None:
        self._faults.note(words, error)
        self.note_trouble(_OWN_FAULT)

    def _is_fresh(self) -> bool:
        """False if the swarm can't be read and the last reading is old."""
        return not self._trouble or (
            bool(self._reading.models) and self._now() - self._read_at < _STALE_SECONDS
        )

    def _publish(self) -> None:
        """Make the snapshot of the newest reading. If that fails, the last one stays and says so."""
        try:
            self._published_at = self._next_time()
            self._state = self._make_state()
        except Exception as error:  # noqa: BLE001 - a fault of ours, which the next reading may not meet
            self._faults.note("a snapshot can't be made", error)
            self._state = replace(self._state, fresh=False, detail=_OWN_FAULT)
        self._newer.set()

    def _next_time(self) -> float:
        """The time of the next snapshot: that of its reading, or a little more than the last snapshot's."""
        is_clock_set_back = self._published_at > self._read_at + _STALE_SECONDS
        later = self._published_at + _NEXT_SECONDS
        return self._read_at if is_clock_set_back else max(self._read_at, later)

    def _make_state(self) -> HealthState:
        fresh = self._is_fresh()
        return make_state(
            self._reading,
            first_seen=self._first_seen,
            probes=self._probes,
            ways=self._presence.ways,
            contributions=self._board(),
            generated_at=self._published_at,
            fresh=fresh,
            detail="" if fresh else self._trouble,
            version=__version__,
            join_addresses=self._config.shown_addresses,
            join_model=self._config.shown_model,
        )

    def _board(self) -> Sequence[ContributionView]:
        """The leaderboard; the last one while the file can't be read."""
        try:
            self._last_board = self._contributions.views(self._names)
        except DatabaseError as error:
            self._faults.note(f"the leaderboard can't be read: {error}", error)
        return self._last_board

    def _sample(self) -> None:
        """Once a minute, keep a sample of every model for its history."""
        if self._now() - self._sampled_at < _SAMPLE_SECONDS:
            return
        self._sampled_at = self._now()
        samples = {model.model: make_sample(model, self._sampled_at) for model in self._state.models}
        try:
            self._history.add_all(samples)
        except DatabaseError as error:  # for instance a full disk: the page continues without new history
            self._faults.note(f"history isn't kept: {error}", error)

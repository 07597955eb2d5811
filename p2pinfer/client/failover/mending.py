"""Making a chain whole: filling it at the beginning, and filling the gaps that failures leave."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from p2pinfer.backoff import Backoff
from p2pinfer.client.chain.chain import Chain
from p2pinfer.client.chain.hop import Hop
from p2pinfer.client.failover.replacements import RECOVERED_TOKENS, Replacements
from p2pinfer.client.patience import Patience
from p2pinfer.client.route.experience import life_of
from p2pinfer.client.route.hop_server import HopServer
from p2pinfer.errors import HopFailedError, NoRouteError, RefusedError, SwarmError
from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.types import PeerId, Span
from p2pinfer.wire.status import Reason

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
"""How often the swarm is asked again for layers that are missing."""

_BRIEF_SECONDS = 5.0
"""Who waits for room no longer than this asks for more of it than is needed, and goes on without."""

_RETRIES = Backoff(first_seconds=0.1, most_seconds=2.0)
_IMMEDIATE_RETRIES = 2
_MOST_EXTRA_ROUTES = 16
"""So many routes are tried beyond patience, as long as each has a known server that was not tried."""

_MOST_BAD_OPENINGS = 6
"""So many servers find the client's opening wrong, until it is."""


class Mender:
    """Tries route after route until a session's chain is whole, or patience ends."""

    def __init__(self, replacements: Replacements, manifest: Manifest, patience: Patience) -> None:
        self._replacements = replacements
        self._network = replacements.network
        self._manifest = manifest
        self._patience = patience
        self._trouble_since: float | None = None
        self._failures = 0
        self._last_error: HopFailedError | RefusedError | None = None
        self._tried: set[PeerId] = set()
        self._bad_openings: set[PeerId] = set()

    def progressed(self) -> None:
        """Let patience begin anew: a step was answered. Any thread may call this."""
        self._trouble_since = None
        self._failures = 0
        self._tried.clear()
        self._bad_openings.clear()

    def note(self, error: HopFailedError | RefusedError, asked: Sequence[HopServer]) -> PeerId | None:
        """Remember a failure; see `Replacements.remember`. It becomes the cause of a later NoRouteError.

        Raises `error` if so many servers find the client's opening wrong that it is.
        """
        self._last_error = error
        if isinstance(error, RefusedError) and error.reason == Reason.BAD_OPENING:
            self._bad_openings.add(error.peer_id)
            if len(self._bad_openings) >= _MOST_BAD_OPENINGS:
                raise error
        return self._replacements.remember(error, asked)

    async def mend(
        self, chain: Chain, error: HopFailedError | RefusedError | None, *, seconds: float | None = None
    ) -> None:
        """Splice until the chain is whole. `error` says what is wrong with it; None: it is new.

        `seconds` is how long to be patient; None: as long as for any route.

        Raises an error that no other route would help against; NoRouteError if layers are missing for too
        long; the last error if patience ends otherwise.
        """
        replace: PeerId | None = None
        extra = 0
        if self._trouble_since is None:
            self._trouble_since = self._network.now()
        deadline = self._trouble_since + (self._patience.route if seconds is None else seconds)
        is_brief = seconds is not None and seconds < _BRIEF_SECONDS
        asked = [hop.server for hop in chain.hops]
        while True:
            if error is not None:
                replace = self.note(error, asked)
                self._tried.update(server.hop.peer_id for server in asked)
                await self._pause()
            lost = [hop for hop in chain.hops if hop.failure is not None or hop.peer_id == replace]
            for hop in lost:
                hop.failure = hop.failure or error  # it stays lost if this attempt fails as well
                await chain.drop(hop)
            is_over = error is not None and self._network.now() > deadline
            try:
                route = asked = await self._find_route(chain, lost, deadline, is_brief=is_brief)
            except NoRouteError:
                if is_over and error is not None:
                    raise error from None
                raise
            if is_over and error is not None:
                extra += 1
                if extra > _MOST_EXTRA_ROUTES or not self._has_untried(route):
                    raise error
            try:
                await self._rebuild(chain, route, lost)
                break
            except (HopFailedError, RefusedError) as next_error:
                logger.info("rerouting again: %s", next_error)
                error = next_error

    def _has_untried(self, route: Sequence[HopServer]) -> bool:
        """True if a server that has worked for this client gets its first chance since the trouble began."""
        experience = self._network.directory.experience
        return any(
            not server.hop.held
            and server.hop.peer_id not in self._tried
            and experience.is_known(life_of(server.record))
            for server in route
        )

    async def _pause(self) -> None:
        """Retry at once after the first failures, then ever more slowly."""
        self._failures += 1
        if self._failures > _IMMEDIATE_RETRIES:
            await asyncio.sleep(_RETRIES.seconds(self._failures - _IMMEDIATE_RETRIES, self._network.chance))

    async def _rebuild(self, chain: Chain, route: Sequence[HopServer], lost: Sequence[Hop]) -> None:
        """Try once to change the chain into this route."""
        splice = self._replacements.splice(chain, route, warm=False)
        try:
            await splice.prepare()
            await splice.commit(self._replacements.held())
        finally:
            await splice.abandon()
        self._replacements.numerics = chain.hops[0].server.record.numerics
        if lost:
            self._replacements.count(splice)

    async def _find_route(
        self, chain: Chain, lost: Sequence[Hop], deadline: float, *, is_brief: bool
    ) -> list[HopServer]:
        """Find the best route; wait until `deadline` for missing layers to appear."""
        while True:
            left = [hop for hop in chain.hops if hop not in lost and hop.failure is None]
            try:
                return await self._replacements.route(left, tokens_to_come=RECOVERED_TOKENS)
            except NoRouteError as error:
                last = self._last_error
                if isinstance(last, RefusedError) and last.reason in (Reason.TOO_LONG, Reason.BAD_OPENING):
                    raise last from error
                if self._network.now() + POLL_SECONDS > deadline:
                    known = f"{error}: {error.reason}" if error.reason else str(error)
                    hint = f"; {self._patience.route_hint}" if self._patience.route_hint else ""
                    waited = f"{known} (waited {self._patience.route:.0f} s{hint})"
                    raise NoRouteError(
                        await self._explain(waited, error),
                        error.missing,
                        reason=error.reason,
                        waiting_for=error.waiting_for,
                    ) from last
                is_silent = is_brief and error.is_for_room
                if not is_silent and self._network.directory.is_news(error.reason or str(error)):
                    known = f" ({error.reason})" if error.reason else ""
                    line = f"{error}; waiting for {error.waiting_for}{known}"
                    logger.warning("%s", await self._explain(line, error))
                await asyncio.sleep(POLL_SECONDS)

    async def _explain(self, message: str, error: NoRouteError) -> str:
        """Add what the swarm serves instead, if no server in it has this model."""
        if error.reason or error.missing != (Span(0, self._manifest.num_layers),):
            return message
        try:
            listings = await self._network.directory.swarm.models()
        except SwarmError:
            return message
        if any(listing.model == self._manifest.hash for listing in listings):
            return message
        others = ", ".join(sorted({f"{listing.model_name} ({listing.model[:12]})" for listing in listings}))
        return (
            f"{message}; no server found in this swarm has {self._manifest.name} "
            f"({self._manifest.hash[:12]}); "
            f"its servers have: {others or 'nothing yet'}"
        )

"""A server's life: with its owner's consent, in and out of the swarm as the owner's policy says.

    OFF -> PAUSED <-> JOINING -> SERVING -> DRAINING -> PAUSED ... -> OFF

While paused there is no model, no p2pd and no connection except those to the sources of signals.

Obey first, speak afterwards: what the policy or the owner wants takes effect before a line about it is
printed or a state is written down. A task that fails unexpectedly ends the program with its error.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import Any

from p2pinfer.backoff import Backoff
from p2pinfer.errors import HubUnreachableError, P2PInferError, StoreError, SwarmError
from p2pinfer.identity import Identity
from p2pinfer.model.memory import return_memory
from p2pinfer.owner.files import OwnerFiles
from p2pinfer.owner.governor import NO_CONSENT, Governor
from p2pinfer.owner.ledger.ledger_writer import LedgerWriter
from p2pinfer.owner.policy.conditions import Action
from p2pinfer.owner.policy.verdict import Verdict
from p2pinfer.owner.states import OwnerState
from p2pinfer.owner.zone import local_zone, zone_doubt
from p2pinfer.server.config import ServerConfig
from p2pinfer.server.housekeeping.housekeeping import Housekeeping
from p2pinfer.server.housekeeping.monthly_sharing import MonthlySharing
from p2pinfer.server.housekeeping.monthly_traffic import MonthlyTraffic
from p2pinfer.server.housekeeping.relay_allowance import RelayAllowance
from p2pinfer.server.housekeeping.sharing_allowance import SharingAllowance
from p2pinfer.server.life.model_choice import ChosenModel
from p2pinfer.server.life.serving import serve_period
from p2pinfer.server.life.serving_period import ServingPeriod
from p2pinfer.server.life.shutdown_request import ShutdownRequest
from p2pinfer.server.life.start_checks import check_start
from p2pinfer.server.machine.identity_slots import owned_identity
from p2pinfer.swarm.membership.membership import Remembered
from p2pinfer.swarm.reach.relay.month import Month
from p2pinfer.tasks import ending, first_of

FIRST_SIGNALS_SECONDS = 3.0
"""How long a server waits at its start for signals that the policy needs."""
RETRIES = Backoff(first_seconds=5.0, most_seconds=60.0)
"""When a server that has served can't join the swarm again, or its disk is full."""

_BY_OWNER = "its owner asked for it"
_BY_POLICY = "the policy allows it"


async def serve(config: ServerConfig, say: Callable[[str], None], shutdown: ShutdownRequest) -> None:
    """Run one server until it is asked to exit, or its owner takes the consent back.

    Raises P2PInferError, with what the owner can do about it, if the server can't start or go on.
    """
    files, zone = OwnerFiles(config.data_folder), local_zone()
    with (
        owned_identity(config.identity, config.data_folder) as identity,
        LedgerWriter(files.ledger) as ledger,
    ):
        traffic = await MonthlyTraffic.of(ledger, zone)
        governor = Governor(files, zone=zone, policy=config.policy, own_readings=traffic.readings)
        sharing = await MonthlySharing.of(ledger, zone)
        housekeeping = Housekeeping(config, identity.peer_id, files, ledger, governor, traffic, sharing)
        allowance = SharingAllowance(
            lambda: governor.policy, lambda: sharing.total_bytes, lambda: traffic.total_bytes
        )
        month = Month(files.relayed / f"{identity.peer_id}.json", zone=zone)
        relay_allowance = RelayAllowance(lambda: governor.policy, lambda: traffic.total_bytes, month)
        if (doubt := zone_doubt()) is not None:
            say(doubt)
        life = Life(
            config, identity, ledger, governor, housekeeping, allowance, relay_allowance, say, shutdown
        )
        try:
            await first_of(
                governor.run_forever(), housekeeping.run_forever(), month.save_forever(), life.live()
            )
        except P2PInferError as error:
            life.last_words = str(error)
            raise
        finally:
            housekeeping.enter(OwnerState.OFF, life.last_words)
        if not shutdown.asked.is_set():
            say(f"ending: {life.last_words}")


class Life:
    """One serving period after the other, while the owner's policy allows it. For the event loop."""

    def __init__(
        self,
        config: ServerConfig,
        identity: Identity,
        ledger: LedgerWriter,
        governor: Governor,
        housekeeping: Housekeeping,
        allowance: SharingAllowance,
        relay_allowance: RelayAllowance,
        say: Callable[[str], None],
        shutdown: ShutdownRequest,
    ) -> None:
        self.last_words = "it has ended"
        """Why it ended, for the status."""
        self._config = config
        self._identity = identity
        self._ledger = ledger
        self._governor = governor
        self._housekeeping = housekeeping
        self._allowance = allowance
        self._relay_allowance = relay_allowance
        self._say = say
        self._shutdown = shutdown
        self._has_served = False
        self._remembered: Remembered | None = None
        self._chosen = ChosenModel()
        self._said: set[str] = set()  # the causes of this pause that were printed, as codes

    async def live(self) -> None:
        """Return when the owner asks for the end, or takes the consent back. Raises P2PInferError."""
        unchecked: HubUnreachableError | None = None
        try:
            await self._unless_asked(check_start(self._config))
        except HubUnreachableError as error:
            unchecked = error
        await self._unless_asked(
            first_of(self._governor.wait_for(_is_clear), asyncio.sleep(FIRST_SIGNALS_SECONDS))
        )
        if unchecked is not None:
            if self._governor.verdict.action is Action.RUN:
                raise unchecked
            self._say(f"not checked yet: {unchecked}")  # the network may be back when work is allowed
        failures = 0
        while not self._is_over():
            verdict = self._governor.verdict
            if verdict.action is not Action.RUN:
                self._pause_for(verdict)
                await self._unless_asked(self._governor.wait_for(partial(_has_changed, verdict)))
                continue
            self._said.clear()
            try:
                await self._serve_once()
                failures = 0
            except (SwarmError, HubUnreachableError, StoreError) as error:
                # The network may be back later, and there may be room on the disk.
                if not self._has_served:
                    raise
                if self._remembered is not None:  # another program may use the old port now
                    self._remembered = replace(self._remembered, listen_maddrs=())
                failures += 1
                wait_seconds = RETRIES.seconds(failures)
                self._pause(f"{error}; trying again in {wait_seconds:.1f} s")
                await self._unless_asked(asyncio.sleep(wait_seconds))

    def _pause_for(self, verdict: Verdict) -> None:
        """Print a pause only when it has a new cause. That a cause has gone is shown by the status."""
        codes = {cause.code for cause in verdict.causes}
        has_news = not codes <= self._said
        self._said |= codes
        if has_news:
            self._pause(reasons(verdict))
        else:
            self._housekeeping.enter(OwnerState.PAUSED, reasons(verdict))

    def _pause(self, words: str) -> None:
        self._housekeeping.enter(OwnerState.PAUSED, words)
        self._say(f"paused: {words}")

    async def _serve_once(self) -> None:
        """Be in the swarm until the policy, or the owner, ends it. Raises what ends it unexpectedly."""
        period = ServingPeriod(
            say=self._say,
            explain=partial(self._housekeeping.enter, OwnerState.SERVING),
            drain_seconds=self._drain_seconds,
            ends_at=lambda: self._governor.verdict.leaves_at,
            sharing_limits=self._allowance.limits,
            relay_allowance=self._relay_allowance,
            chosen=self._chosen,
            remembered=self._remembered,
        )
        self._governor.working = True
        self._housekeeping.enter(OwnerState.JOINING, _BY_POLICY)
        try:
            with self._housekeeping.attending(period):
                await self._serve_until_over(period)
        finally:
            self._has_served = self._has_served or period.has_served
            self._governor.working = False
            self._remembered = period.remembered
            gc.collect()  # sessions, callbacks and the engine refer to each other
            return_memory()

    async def _serve_until_over(self, period: ServingPeriod) -> None:
        serving = asyncio.create_task(serve_period(self._config, self._identity, self._ledger, period))
        obeying = asyncio.create_task(self._obey(period, serving))
        async with ending(serving), ending(obeying):
            await asyncio.wait({serving, obeying}, return_when=asyncio.FIRST_COMPLETED)
            if obeying.done():
                obeying.result()  # raises if it failed: nothing would pass on what the owner wants
                await asyncio.wait({serving})
            was_stopped_early = obeying.done() and not period.ready.is_set()
        if was_stopped_early:
            with contextlib.suppress(asyncio.CancelledError, P2PInferError):
                serving.result()
            self._say("stopped before it was ready")
        else:
            serving.result()

    async def _obey(self, period: ServingPeriod, serving: asyncio.Task[None]) -> None:
        """Pass on what the policy and the owner want. Returns when there is nothing left to pass on."""
        shutdown, governor = self._shutdown, self._governor
        await first_of(period.ready.wait(), shutdown.asked.wait(), governor.wait_for(_forbids))
        if period.ready.is_set():
            self._housekeeping.enter(OwnerState.SERVING, _BY_POLICY)
            await first_of(shutdown.asked.wait(), governor.wait_for(_forbids))
        by_owner = shutdown.asked.is_set()
        stops = not by_owner and governor.verdict.action is Action.STOP
        words = _BY_OWNER if by_owner else reasons(governor.verdict)
        drains = period.ready.is_set() and not stops
        period.stopping.set()
        if not drains:
            period.leaving.set()
        if not period.ready.is_set():
            serving.cancel()
        # It is obeyed from here on; now it may be told.
        if drains:
            self._housekeeping.enter(OwnerState.DRAINING, words)
        if not by_owner and governor.consents:  # without consent the program ends, and says why then
            self._say(f"{'draining' if drains else 'stopping'}: {words}")
        if drains:
            await first_of(shutdown.urgent.wait(), governor.wait_for(_forbids_at_once))
            period.leaving.set()

    async def _unless_asked(self, work: Coroutine[Any, Any, object]) -> None:
        """Wait for `work`, or until the owner asks for the end."""
        await first_of(work, self._shutdown.asked.wait())

    def _is_over(self) -> bool:
        if self._shutdown.asked.is_set():
            self.last_words = _BY_OWNER
            return True
        if not self._governor.consents:
            self.last_words = reasons(self._governor.verdict)
            return True
        return False

    def _drain_seconds(self) -> float:
        if self._config.drain_seconds is not None:
            return self._config.drain_seconds
        return self._governor.policy.drain_seconds


def reasons(verdict: Verdict) -> str:
    """Why a policy doesn't say RUN, in one line."""
    return "; ".join(cause.words for cause in verdict.causes)


def _is_clear(verdict: Verdict) -> bool:
    """False while the only reason may be that signals have not been heard yet."""
    return verdict.action is Action.RUN or any(cause.code == NO_CONSENT for cause in verdict.causes)


def _forbids(verdict: Verdict) -> bool:
    return verdict.action is not Action.RUN


def _forbids_at_once(verdict: Verdict) -> bool:
    return verdict.action is Action.STOP


def _has_changed(before: Verdict, verdict: Verdict) -> bool:
    """True if there is something new to say. Words alone don't count: they contain seconds that pass."""
    return [cause.code for cause in verdict.causes] != [cause.code for cause in before.causes]

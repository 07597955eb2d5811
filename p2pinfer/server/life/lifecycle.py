"""A server's life: with its owner's consent, in and out of the swarm as the owner's policy says.

    OFF -> PAUSED <-> JOINING -> SERVING -> DRAINING -> PAUSED ... -> OFF

While paused there is no model, no p2pd and no connection but those that signals come from.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from p2pinfer.errors import P2PInferError, SwarmError
from p2pinfer.identity import Identity
from p2pinfer.owner.files import OwnerFiles
from p2pinfer.owner.governor import NO_CONSENT, Governor
from p2pinfer.owner.ledger.ledger_writer import LedgerWriter
from p2pinfer.owner.policy.conditions import Action
from p2pinfer.owner.policy.verdict import Verdict
from p2pinfer.owner.states import OwnerState
from p2pinfer.owner.zone import local_zone
from p2pinfer.server.config import ServerConfig
from p2pinfer.server.life.housekeeping import Attendant
from p2pinfer.server.life.machine import owned_identity, return_memory
from p2pinfer.server.life.monthly_traffic import MonthlyTraffic
from p2pinfer.server.life.serving import Controls, stay
from p2pinfer.swarm.membership.membership import Remembered
from p2pinfer.tasks import first_of

_OWNER = "its owner asked for it"
_FIRST_SIGNALS_SECONDS = 3.0
_FIRST_RETRY_SECONDS = 5.0
_LONGEST_RETRY_SECONDS = 60.0


class Ending:
    """The owner asks that the server ends: once to leave politely, again to leave now."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.urgent = asyncio.Event()

    def urge(self) -> bool:
        """Ask (again). False: it has been asked all that it can be asked."""
        for event in (self.asked, self.urgent):
            if not event.is_set():
                event.set()
                return True
        return False


async def serve(config: ServerConfig, say: Callable[[str], None], ending: Ending) -> None:
    """Run one server until it is told to end, or its owner takes the consent back.

    Raises P2PInferError with what the owner can do about it if it can't start or go on.
    """
    files, zone = OwnerFiles(config.data_folder), local_zone()
    with owned_identity(config.identity, config.data_folder) as identity, LedgerWriter(files.ledger) as book:
        traffic = await MonthlyTraffic.of(book, zone)
        governor = Governor(files, zone=zone, policy=config.policy, own_readings=traffic.readings)
        attendant = Attendant(config, identity.peer_id, files, book, governor, traffic)
        life = Life(config, identity, book, governor, attendant, say, ending)
        try:
            await first_of(governor.run_forever(), attendant.attend_forever(), life.live())
        except P2PInferError as error:
            life.last_words = str(error)
            raise
        finally:
            attendant.enter(OwnerState.OFF, life.last_words)


class Life:
    """Stays in the swarm, one after the other, while the owner's policy allows it."""

    def __init__(
        self,
        config: ServerConfig,
        identity: Identity,
        book: LedgerWriter,
        governor: Governor,
        attendant: Attendant,
        say: Callable[[str], None],
        ending: Ending,
    ) -> None:
        self.last_words = "it has ended"
        self._config = config
        self._identity = identity
        self._book = book
        self._governor = governor
        self._attendant = attendant
        self._say = say
        self._ending = ending
        self._has_served = False
        self._remembered: Remembered | None = None
        self._said: set[str] = set()  # why it is paused, as codes

    async def live(self) -> None:
        """Return when the owner asks for the end. Raises P2PInferError."""
        retry_seconds = _FIRST_RETRY_SECONDS
        await self._until(first_of(self._governor.wait_for(_is_clear), asyncio.sleep(_FIRST_SIGNALS_SECONDS)))
        while not self._is_over():
            verdict = self._governor.verdict
            if verdict.action is not Action.RUN:
                self._pause_for(verdict)
                await self._until(self._governor.wait_for(partial(_has_changed, verdict)))
                continue
            self._said.clear()
            try:
                await self._stay()
                retry_seconds = _FIRST_RETRY_SECONDS
            except SwarmError as error:
                if not self._has_served:
                    raise
                if self._remembered is not None:  # the old port may be another's now
                    self._remembered = Remembered(self._remembered.peers)
                self._pause(f"{error}; trying again in {retry_seconds:.0f} s")
                await self._until(asyncio.sleep(retry_seconds))
                retry_seconds = min(2 * retry_seconds, _LONGEST_RETRY_SECONDS)

    def _pause_for(self, verdict: Verdict) -> None:
        """Say what is new; that something doesn't stand in the way any more is for the status to show."""
        codes = {cause.code for cause in verdict.causes}
        if codes <= self._said:
            self._attendant.enter(OwnerState.PAUSED, reasons(verdict))
        else:
            self._pause(reasons(verdict))
        self._said |= codes

    def _pause(self, words: str) -> None:
        self._say(f"paused: {words}")
        self._attendant.enter(OwnerState.PAUSED, words)

    async def _stay(self) -> None:
        """Be in the swarm until the policy, or the owner, ends it."""
        controls = Controls(
            say=self._say,
            drain_seconds=self._drain_seconds,
            ends_at=lambda: self._governor.verdict.leaves_at,
            remembered=self._remembered,
        )
        self._governor.working = True
        self._attendant.enter(OwnerState.JOINING, "the policy allows it")
        staying = asyncio.create_task(stay(self._config, self._identity, self._book, controls))
        try:
            with self._attendant.serving(controls):
                await self._until_over(staying, controls)
            self._has_served = self._has_served or controls.ready.is_set()
        finally:
            self._governor.working = False
            staying.cancel()
            await asyncio.gather(staying, return_exceptions=True)
            self._remembered = controls.remembered
            del staying, controls
            gc.collect()  # sessions, callbacks and the engine refer to each other
            return_memory()

    async def _until_over(self, staying: asyncio.Task[None], controls: Controls) -> None:
        """Pass on what the policy and the owner want, until the stay has ended. Raises what it raises."""
        passing_on = asyncio.create_task(self._pass_on(controls))
        try:
            await asyncio.wait({staying, passing_on}, return_when=asyncio.FIRST_COMPLETED)
            if controls.ready.is_set():
                await asyncio.wait({staying})
            elif not staying.done():
                self._say("stopped before it was ready")
                return
            staying.result()
        finally:
            passing_on.cancel()
            await asyncio.gather(passing_on, return_exceptions=True)

    async def _pass_on(self, controls: Controls) -> None:
        """Return when everything was passed on that can be."""
        ending, governor = self._ending, self._governor
        await first_of(controls.ready.wait(), ending.asked.wait(), governor.wait_for(_forbids))
        if controls.ready.is_set():
            self._attendant.enter(OwnerState.SERVING, "the policy allows it")
            await first_of(ending.asked.wait(), governor.wait_for(_forbids))
        stops = not ending.asked.is_set() and governor.verdict.action is Action.STOP
        words = _OWNER if ending.asked.is_set() else reasons(governor.verdict)
        if not ending.asked.is_set():
            self._say(f"{'stopping' if stops else 'draining'}: {words}")
        if controls.ready.is_set() and not stops:
            self._attendant.enter(OwnerState.DRAINING, words)
            controls.stopping.set()
            await first_of(ending.urgent.wait(), governor.wait_for(_forbids_at_once))
        controls.stopping.set()
        controls.leaving.set()

    async def _until(self, work: Coroutine[Any, Any, object]) -> None:
        """Wait for it, or for the owner to ask for the end."""
        await first_of(work, self._ending.asked.wait())

    def _is_over(self) -> bool:
        if self._ending.asked.is_set():
            self.last_words = _OWNER
            return True
        if not self._governor.consents:
            self.last_words = reasons(self._governor.verdict)
            self._say(f"ending: {self.last_words}")
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
    """False while it may only be that signals have not been heard yet."""
    return verdict.action is Action.RUN or any(cause.code == NO_CONSENT for cause in verdict.causes)


def _forbids(verdict: Verdict) -> bool:
    return verdict.action is not Action.RUN


def _forbids_at_once(verdict: Verdict) -> bool:
    return verdict.action is Action.STOP


def _has_changed(before: Verdict, verdict: Verdict) -> bool:
    """True if there is something new to say: not if only seconds in words have passed."""
    return [cause.code for cause in verdict.causes] != [cause.code for cause in before.causes]

"""Decides again and again whether this machine may work, and tells when the verdict changes.

policy/verdict.py makes the decision. This file has the clock, the owner's files, and the sources of signals.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Mapping
from datetime import tzinfo
from pathlib import Path

from p2pinfer.errors import UsageError
from p2pinfer.owner.consent import read_consent
from p2pinfer.owner.files import OwnerFiles
from p2pinfer.owner.policy.causes import Cause
from p2pinfer.owner.policy.conditions import Action
from p2pinfer.owner.policy.policy import Policy
from p2pinfer.owner.policy.policy_file import load_policy
from p2pinfer.owner.policy.verdict import Limits, Verdict, decide
from p2pinfer.owner.signals.readings import Reading, Readings, Signal
from p2pinfer.owner.signals.sources.all_sources import Signals, listen_to_sources

logger = logging.getLogger(__name__)

TICK_SECONDS = 2.0
"""How often to look at what only time changes: allowed hours, stale signals, the owner's files."""

NO_CONSENT = "no-consent"
BAD_POLICY = "bad-policy"

OwnReadings = Callable[[], Mapping[Signal, Reading]]
"""Readings that the server takes of itself, such as its traffic."""


class Governor:
    """The present verdict on whether this machine may work. For the event loop."""

    def __init__(
        self,
        files: OwnerFiles,
        *,
        zone: tzinfo,
        policy: Path | None = None,
        own_readings: OwnReadings = dict,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`policy` is a file that must exist; None: the policy among `files`, if it exists.

        Raises UsageError if the policy can't be used.
        """
        self._files = files
        self.zone = zone
        self._given = policy
        self._own_readings = own_readings
        self._now = now
        self._had_policy = policy is not None or files.policy.exists()
        self._has_agreed = False  # as seen by this object
        self._fault: str | None = None
        self._stamps: object = self._look_at_files()
        self._signals: Signals | None = None
        self._decided = asyncio.Event()
        self._woken = asyncio.Event()
        self.on_change: Callable[[], None] = lambda: None
        """Called in the event loop after every change of the verdict."""
        self.working = False
        """Set by the server: going on needs less than beginning, as for a battery below its resume level."""
        self.policy = load_policy(self._policy_path) if self._had_policy else Policy()
        self.verdict = Verdict(
            action=Action.STOP,
            causes=(Cause(code="starting", words="it has just started", action=Action.STOP),),
            leaves_at=None,
            limits=Limits(),
        )

    @property
    def consents(self) -> bool:
        """False if the owner's consent is missing: the server has to exit."""
        return not any(cause.code == NO_CONSENT for cause in self.verdict.causes)

    @property
    def readings(self) -> Readings:
        """The readings that are known now."""
        known = {} if self._signals is None else dict(self._signals.readings())
        return known | dict(self._own_readings())

    @property
    def troubles(self) -> Mapping[str, str]:
        """What is wrong with the sources of signals, by origin."""
        return {} if self._signals is None else self._signals.troubles()

    async def wait_for(self, wanted: Callable[[Verdict], bool]) -> Verdict:
        """Wait until `wanted(verdict)` is true, and return that verdict. It may be the present one."""
        while not wanted(self.verdict):
            self._decided.clear()
            await self._decided.wait()
        return self.verdict

    async def run_forever(self) -> None:
        """Listen to the policy's signals and decide, until cancelled. A changed policy file is read again."""
        while True:
            async with listen_to_sources(
                self.policy.signals, now=self._now, on_change=self._woken.set
            ) as signals:
                self._signals = signals
                policy = self.policy
                while self.policy.signals == policy.signals:
                    self._decide()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(TICK_SECONDS):
                            await self._woken.wait()
                    self._woken.clear()
                    self._reload_changed()

    @property
    def _policy_path(self) -> Path:
        return self._given or self._files.policy

    def _decide(self) -> None:
        now, troubles = self._now(), {} if self._signals is None else self._signals.reasons()
        verdict = decide(
            self.policy,
            self.readings,
            now=now,
            zone=self.zone,
            running=self.working,
            troubles=troubles,
        )
        objection = self._objection()
        if objection is not None:
            # Without the owner's word, or with half of it, nothing else is of interest.
            causes = (objection,)
            verdict = Verdict(action=Action.STOP, causes=causes, leaves_at=None, limits=verdict.limits)
        changed = verdict != self.verdict
        self.verdict = verdict
        if changed:
            self._decided.set()
            self.on_change()

    def _objection(self) -> Cause | None:
        """A cause to stop that doesn't depend on the rules: no consent, or a policy file with mistakes."""
        try:
            consent = read_consent(self._files.consent)
        except UsageError as error:
            return Cause(code=NO_CONSENT, words=str(error), action=Action.STOP)
        if consent is None or not consent.is_current:
            words = "the owner has taken the consent back" if self._has_agreed else "the owner has not agreed"
            return Cause(code=NO_CONSENT, words=words, action=Action.STOP)
        self._has_agreed = True
        if self._fault is not None:
            return Cause(code=BAD_POLICY, words=self._fault, action=Action.STOP)
        return None

    def _reload_changed(self) -> None:
        """Read the policy again if its file has changed. Mistakes in it stop the work until they are gone."""
        stamps = self._look_at_files()
        if stamps == self._stamps:
            return
        self._stamps = stamps
        self._had_policy = self._had_policy or self._policy_path.exists()
        try:
            if self._had_policy:
                self.policy = load_policy(self._policy_path)
            self._fault = None
        except UsageError as error:
            self._fault = "; ".join(str(error).splitlines())
        else:
            logger.info("read %s again", self._policy_path)

    def _look_at_files(self) -> object:
        """A value that changes when the policy file changes."""
        try:
            stat = os.stat(self._policy_path)
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino

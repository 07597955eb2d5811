"""Keeps the rates of a server fresh that nobody uses: now and then it computes some tokens of its own.

Placement and routes go by the rates, and a machine that was fast last night may be busy with something else
now. While clients use the server their steps measure it, and nothing is added.
"""

from __future__ import annotations

import asyncio
import logging
import time

import numpy as np

from p2pinfer.backoff import jittered
from p2pinfer.model.engine.base import Engine, Hidden, SequenceCache
from p2pinfer.server.compute.batcher import Batcher, RowInput
from p2pinfer.server.compute.rates import Rates
from p2pinfer.server.compute.schedule import MIN_PREFILL_TOKENS
from p2pinfer.server.sessions.session_runner import SessionRunner
from p2pinfer.server.sessions.session_table import SessionTable
from p2pinfer.wire.step_kind import StepKind

logger = logging.getLogger(__name__)

STALE_SECONDS = 600.0
LOOK_SECONDS = 60.0
PREFILLS = 2
DECODES = 8
TOKENS = PREFILLS * MIN_PREFILL_TOKENS + DECODES


def is_stale(rates: Rates, now: float) -> bool:
    """True if decode or prefill wasn't measured for STALE_SECONDS; `now` is in Unix seconds."""
    return now - min(rates.decode_measured_at, rates.prefill_measured_at) > STALE_SECONDS


class IdleMeasurement:
    """For the event loop. Its steps are batched and throttled like those of a session."""

    def __init__(
        self, sessions: SessionTable, runner: SessionRunner, batcher: Batcher, engine: Engine
    ) -> None:
        self._sessions = sessions
        self._runner = runner
        self._batcher = batcher
        self._engine = engine

    async def measure_forever(self) -> None:
        """Measure whenever the rates are stale and no session is open."""
        while True:
            await asyncio.sleep(jittered(LOOK_SECONDS))
            if is_stale(self._batcher.rates, time.time()):
                await self.measure()

    async def measure(self) -> bool:
        """Compute TOKENS tokens of noise, unless a session is open, or until one is. True: all of them."""
        if len(self._sessions) or self._sessions.free_cache_tokens < TOKENS:
            return False
        noise = np.random.default_rng(0).standard_normal(
            (MIN_PREFILL_TOKENS, self._engine.hidden_size), dtype=np.float32
        )
        pieces = [(StepKind.PREFILL, noise)] * PREFILLS + [(StepKind.DECODE, noise[:1])] * DECODES
        with self._sessions.reserved(TOKENS):
            cache = self._engine.new_cache()
            try:
                return await self._run(cache, pieces)
            finally:
                self._runner.release(cache)

    async def _run(self, cache: SequenceCache, pieces: list[tuple[StepKind, Hidden]]) -> bool:
        position = 0
        for kind, hidden in pieces:
            if len(self._sessions):
                return False
            outcome = await self._runner.run_own(kind, RowInput(cache, position, hidden))
            if isinstance(outcome, Exception):
                logger.debug("the idle server couldn't be measured: %s", outcome)
                return False
            position += len(hidden)
        return True

"""What a client program does with a session; every hidden state is compared with the oracle's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from p2pinfer.client.chain.prefill import common_prefix
from p2pinfer.client.patience import Patience
from p2pinfer.errors import P2PInferError
from p2pinfer.model.engine.base import Hidden
from p2pinfer.wire.steps import Fork
from tests.client.forking_session import ForkingSession
from tests.simulator.arithmetic import NumberEnds, Oracle, number_manifest
from tests.simulator.world.world import World

LEASED_TOKENS = 1024
"""The lease of every row of every session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Change the text of every row, then decode: keep `keep` tokens of the text (-1: all), add `add` tokens,
    ask once for the states of the last `wanted` tokens, and then decode `decode` tokens one by one.

    With `fork` the servers make other rows begin as the first one does, some tokens long. With `waits` the
    steps follow when they have done it."""

    keep: int = -1
    add: int = 0
    wanted: int = 1
    decode: int = 0
    pause_seconds: float = 0.0
    fork: bool = False
    waits: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One session's life."""

    starts_at: float = 0.0
    rows: int = 1
    prompt_tokens: int = 4
    acts: tuple[Act, ...] = (Act(decode=8),)
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Answered:
    """One call of `compute`. `impassable_seconds`: how long no route was possible during the call."""

    began: float
    ended: float
    impassable_seconds: float

    @property
    def seconds(self) -> float:
        """How long the caller waited."""
        return self.ended - self.began


@dataclass(slots=True)
class Diary:
    """The results of a script."""

    steps: list[Answered] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    error: BaseException | None = None
    error_rows_missing: bool = False
    ended_at: float = 0.0
    replayed_tokens: int = 0
    replaced_hops: int = 0
    tokens: int = 0


class Reader:
    """Plays a script: the blocking code of a caller's thread."""

    def __init__(self, world: World, script: Script, patience: Patience) -> None:
        self.diary = Diary()
        self._world = world
        self._script = script
        self._patience = patience
        self._ends = NumberEnds()

    def play(self) -> None:
        """Play the whole script; an error of the documented kinds ends it, and is noted."""
        world, script = self._world, self._script
        num_layers = next(iter(world.shapes.values())).num_layers
        self._oracles = [Oracle(num_layers) for _ in range(script.rows)]
        chance = np.random.default_rng(script.seed)
        rows = [
            chance.integers(0, 251, script.prompt_tokens + index).tolist() for index in range(script.rows)
        ]
        try:
            with ForkingSession(
                world.client,  # type: ignore[arg-type]
                number_manifest(num_layers),
                self._ends,  # type: ignore[arg-type]
                max_length=LEASED_TOKENS,
                patience=self._patience,
            ) as session:
                try:
                    for act in script.acts:
                        self._perform(session, act, rows, chance)
                finally:
                    self.diary.replayed_tokens = session.replayed_tokens
                    self.diary.replaced_hops = session.replaced_hops
        except P2PInferError as error:
            self.diary.error = error
            self.diary.error_rows_missing = error.rows != rows
            world.note("client", f"gives up: {type(error).__name__}: {error}")
        self.diary.ended_at = world.clock.now

    def _perform(
        self, session: ForkingSession, act: Act, rows: list[list[int]], chance: np.random.Generator
    ) -> None:
        if act.pause_seconds:
            self._world.client.run(asyncio.sleep(act.pause_seconds))
        for row in rows:
            if act.keep >= 0:
                del row[max(1, act.keep) :]
            row.extend(chance.integers(0, 251, act.add).tolist())
        wanted = [min(act.wanted, len(row)) for row in rows]
        forks = self._fork(act, rows, session.tokens[0], chance) if act.fork else []
        hidden = self._compute(session, rows, wanted, forks, waits=act.waits)
        for _ in range(act.decode):
            for row, states in zip(rows, hidden, strict=True):
                row.append(self._ends.next_token(states))
                self.diary.tokens += 1
            hidden = self._compute(session, rows, [1] * len(rows))

    def _fork(
        self, act: Act, rows: list[list[int]], held: list[int], chance: np.random.Generator
    ) -> list[Fork]:
        """Let some rows begin with tokens of the first one that the servers hold, and that stay."""
        first = rows[0]
        most = min(common_prefix(held, first), len(first) - min(act.wanted, len(first)))
        forks = []
        for index in range(1, len(rows)):
            if most and chance.random() < 0.7:
                fork = Fork(index, 0, int(chance.integers(1, most, endpoint=True)))
                rows[index][:] = first[: fork.tokens] + chance.integers(0, 251, act.add).tolist()
                forks.append(fork)
        return forks

    def _compute(
        self,
        session: ForkingSession,
        rows: list[list[int]],
        wanted: list[int],
        forks: Sequence[Fork] = (),
        *,
        waits: bool = False,
    ) -> list[Hidden]:
        world = self._world
        began = world.clock.now
        wanted = [min(count, len(row)) for count, row in zip(wanted, rows, strict=True)]
        states = (
            session.fork_and_compute(forks, rows, wanted, wait=waits)
            if forks
            else session.compute(rows, wanted)
        )
        missing = world.impassable_seconds(began)
        self.diary.steps.append(Answered(began, world.clock.now, missing))
        for index, (row, count, got) in enumerate(zip(rows, wanted, states, strict=True)):
            if not np.array_equal(got, self._oracles[index].hidden(row, count)):
                self.diary.wrong.append(f"row {index} at {len(row)} tokens, {world.clock.now:.3f} s")
        world.note("client", f"has {[len(row) for row in rows]} tokens")
        return states

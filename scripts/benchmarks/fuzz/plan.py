"""Which reader gets the next inputs: all get the same time, so quick ones try more. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tests.fuzz.trying import Culprit, Tally

BLOCK_SECONDS = 1.0
_FIRST_BLOCK, _MOST_BLOCK = 50, 20_000


@dataclass(frozen=True, slots=True)
class Block:
    """Inputs that one process tries in one go."""

    reader: str
    first: int
    count: int


class Plan:
    """What was tried so far, and what comes next."""

    def __init__(self, readers: Iterable[str], *, most_inputs: int | None = None) -> None:
        self.tallies = {name: Tally() for name in readers}
        self.crashes: dict[str, list[Culprit]] = {name: [] for name in self.tallies}
        self._next = dict.fromkeys(self.tallies, 0)
        self._given_seconds = dict.fromkeys(self.tallies, 0.0)
        self._most_inputs = most_inputs
        self._given_inputs = 0

    def next_block(self) -> Block | None:
        """The next one; None when as many inputs are given out as were asked for."""
        left = None if self._most_inputs is None else self._most_inputs - self._given_inputs
        if left is not None and left <= 0:
            return None
        name = min(self.tallies, key=self._given_seconds.__getitem__)
        tally = self.tallies[name]
        each_seconds = tally.seconds / tally.inputs if tally.inputs else BLOCK_SECONDS / _FIRST_BLOCK
        count = min(max(int(BLOCK_SECONDS / each_seconds), 1), _MOST_BLOCK)
        count = count if left is None else min(count, left)
        block = Block(name, self._next[name], count)
        self._next[name] += count
        self._given_inputs += count
        self._given_seconds[name] += count * each_seconds
        return block

    def done(self, block: Block, tally: Tally) -> None:
        """A block was tried."""
        self.tallies[block.reader].add(tally)

    def crashed(self, block: Block, culprit: Culprit) -> Block | None:
        """The process ended or hung at this input; returns the rest of its block, None if nothing is left."""
        self.crashes[block.reader].append(culprit)
        tried = max(culprit.number - block.first, 0) + 1
        self.tallies[block.reader].add(Tally(inputs=tried, seconds=BLOCK_SECONDS))
        rest = block.count - tried
        return Block(block.reader, block.first + tried, rest) if rest > 0 else None

    @property
    def inputs(self) -> int:
        """How many were tried in all."""
        return sum(tally.inputs for tally in self.tallies.values())

"""Which cells a reader reads, one after the other. Pure: numbers of records in, depths out.

The root comes first. If it isn't crowded it has everybody: a small swarm is one cell. Otherwise the reader
looks for the largest of its own cells that isn't crowded. Each cell has at least as many servers as the
smaller ones in it, so the depths can be halved, beginning where the reader was the last time. Then three
reads do: the root, the same cell, the one above.

The answer is the union of what was read in the end: a sample of the whole tree, a sample of the cell above,
all of one's own cell. None of them is more than CAPACITY records.

Samples can be taken by those who have paid for the best ranks; a cell that isn't crowded can't. A reader who
needs more honest servers than it has found reads the cells beside its own as well (`place.cells_beside`).
"""

from __future__ import annotations

from p2pinfer.swarm.cells.climb import is_crowded
from p2pinfer.swarm.cells.place import DEPTH

MOST_READS = 6
"""Of one descent without a memory: the root, and four or five halvings of 16 depths."""


class Descent:
    """One reader's way down. Ask `next_depth`, read there, tell `saw`; until there is none."""

    def __init__(self, remembered: int | None = None) -> None:
        """`remembered` is the `depth` of an earlier descent."""
        self._crowded = -1  # the deepest depth that is known to be crowded
        self._free = DEPTH  # the shallowest that isn't, or that is as deep as it goes
        self._remembered = remembered if remembered is not None and 0 < remembered <= DEPTH else None
        self._seen: set[int] = set()

    @property
    def next_depth(self) -> int | None:
        """The depth to read next; None when the reader has arrived."""
        if not self._seen:
            return 0
        if self._free - self._crowded > 1:
            return self._guess()
        return None if self._free in self._seen else self._free

    def saw(self, depth: int, records: int) -> None:
        """So many records were read at a depth. An answer that contradicts earlier ones is left out."""
        self._seen.add(depth)
        if not self._crowded < depth <= self._free:
            return
        if is_crowded(records) and depth < DEPTH:
            self._crowded = depth
        else:
            self._free = depth

    @property
    def depth(self) -> int:
        """Where the reader's own cell is, when it has arrived. Remember it for the next time."""
        return self._free

    @property
    def result(self) -> tuple[int, ...]:
        """The depths whose records are the answer, the root first: one, two or three."""
        return tuple(sorted({0, max(0, self._free - 1), self._free}))

    def _guess(self) -> int:
        guess = (self._crowded + 1 + self._free) // 2
        if self._remembered is None:
            return guess
        if self._crowded < self._remembered < self._free:
            return self._remembered
        above = self._remembered - 1
        return above if self._remembered == self._free and self._crowded < above else guess

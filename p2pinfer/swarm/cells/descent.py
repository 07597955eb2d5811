"""Which cells a reader reads, one after the other. Pure: numbers of records in, depths out.

The root comes first. If it isn't crowded it has everybody: a small swarm is one cell. Otherwise the reader
looks for the largest of its own cells that isn't crowded. Each cell has at least as many servers as the
smaller ones in it, so the depths can be halved, beginning where the reader was the last time. Then three
reads do: the root, the same cell, the one above.

A root that isn't crowded may also be one whose keepers hide the rest. So a reader who remembers a depth reads
there too, and in the cell above, and believes the root only if both are empty. It costs a read or two, as
long as the memory is of any use.

The answer is the union of all that was read: no keeper can take away what another cell has brought. It has a
sample of the whole tree, a sample of the cell above, and all of one's own cell. None of them is more than
CAPACITY records.

Samples can be taken by those who came first, and by those who have paid for the best ranks; a cell that isn't
crowded can't. So a reader whose own cell has few servers reads the cells beside it as well (`is_sparse`,
`place.cells_beside`).
"""

from __future__ import annotations

from p2pinfer.swarm.cells.climb import SPLIT, is_crowded
from p2pinfer.swarm.cells.place import DEPTH

MOST_READS = 7
"""Of one descent: the root, and five halvings of 16 depths; or two reads by memory and four halvings."""
FEW = SPLIT // 2
"""Servers of a cell. Of so many, if a third is hostile, one in a hundred readers finds no honest route."""


class Descent:
    """One reader's way down. Ask `next_depth`, read there, tell `saw`; until there is none."""

    def __init__(self, remembered: int | None = None) -> None:
        """`remembered` is the `depth` of an earlier descent."""
        self._crowded = -1  # the deepest depth that is known to be crowded
        self._free = DEPTH  # the shallowest that isn't, or that is as deep as it goes
        self._remembered = remembered if remembered is not None and 0 < remembered <= DEPTH else None
        self._is_doubted = False  # the root seemed small, which isn't what is remembered
        self._seen: dict[int, int] = {}  # depth -> records

    @property
    def next_depth(self) -> int | None:
        """The depth to read next; None when the reader has arrived."""
        if not self._seen:
            return 0
        if self._is_doubted and self._crowded <= 0:
            return next((depth for depth in self._memories() if depth not in self._seen), None)
        if self._free - self._crowded > 1:
            return self._guess()
        return None if self._free in self._seen else self._free

    def saw(self, depth: int, records: int) -> None:
        """So many records were read at a depth. One that contradicts earlier ones moves nothing."""
        has_more_inside = any(records < there for deeper, there in self._seen.items() if deeper > depth)
        self._seen[depth] = records
        if not self._crowded < depth <= self._free:
            return
        self._is_doubted |= depth == 0 and not is_crowded(records) and self._remembered is not None
        # Who has fewer records than a smaller cell hides some: it is no place to be at home.
        if depth < DEPTH and (is_crowded(records) or has_more_inside or (depth == 0 and self._is_doubted)):
            self._crowded = depth
        else:
            self._free = depth

    @property
    def depth(self) -> int:
        """Where the reader's own cell is, when it has arrived. Remember it for the next time."""
        is_small = self._is_doubted and not any(self._seen.get(depth) for depth in self._memories())
        return 0 if is_small and self._crowded <= 0 else self._free

    @property
    def is_sparse(self) -> bool:
        """True if the own cell showed so few servers that the cells beside it should be read as well."""
        return self.depth > 0 and self._seen.get(self.depth, 0) < FEW

    @property
    def result(self) -> tuple[int, ...]:
        """The depths whose records are the answer, the root first: those that were read."""
        return tuple(sorted(self._seen))

    def _memories(self) -> list[int]:
        """What can tell whether a root is as small as it seems."""
        return [depth for depth in (self._remembered, (self._remembered or 0) - 1) if depth and depth > 0]

    def _guess(self) -> int:
        guess = (self._crowded + 1 + self._free) // 2
        if self._remembered is None:
            return guess
        if self._crowded < self._remembered < self._free:
            return self._remembered
        above = self._remembered - 1
        return above if self._remembered == self._free and self._crowded < above else guess

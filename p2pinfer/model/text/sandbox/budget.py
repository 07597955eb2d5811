"""How much work one rendering may do. Work is counted, not timed: the same template always stops alike.

One unit is about one step of the interpreter, or one character that is copied: some 20 ns, and 100 at
worst. Before an operation walks through a value, the walk is counted, so that no single operation is long.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from jinja2.exceptions import SecurityError

MOST_WORK = 32_000_000
"""Of one rendering: three seconds, and 128 MB, at the worst. A chat of 1,000 messages takes a tenth of it."""

MOST_SIZE = 4_000_000
"""Of one value: its characters, and the items of all containers in it. And of what is rendered."""

_MOST_NUMBER_BITS = 4096

Item = TypeVar("Item")


class OverBudgetError(SecurityError):
    """The template wants to do more than a rendering may."""


class Budget:
    """What is left for one rendering."""

    def __init__(self) -> None:
        self._left = MOST_WORK

    def spend(self, work: int) -> None:
        """Count work before it is done. Raises OverBudgetError."""
        self._left -= work
        if self._left < 0:
            raise OverBudgetError(f"it takes more than {MOST_WORK} steps")

    def room(self, size: int) -> None:
        """Count a value of this size before it is made. Raises OverBudgetError."""
        if size > MOST_SIZE:
            raise OverBudgetError(f"it makes a value of more than {MOST_SIZE} characters or items")
        self.spend(max(size, 0))

    def number(self, bits: int) -> None:
        """Count a whole number before it is made. Raises OverBudgetError."""
        if bits > _MOST_NUMBER_BITS:
            raise OverBudgetError(f"it makes a number of more than {_MOST_NUMBER_BITS} bits")

    def walk(self, *values: Any) -> int:
        """Count a walk through values and everything in them. Returns their size. Raises OverBudgetError.

        A value that is in there twice counts twice: whoever prints it, prints it twice.
        """
        size = letters = 0
        waiting: list[Any] = list(values)
        while waiting:
            value = waiting.pop()
            size += 1
            if isinstance(value, str):
                size += len(value)
                letters += len(value)
            elif isinstance(value, dict):
                waiting.extend(value)
                waiting.extend(value.values())
            elif isinstance(value, list | tuple | set | frozenset):
                waiting.extend(value)
            if size + len(waiting) > MOST_SIZE:
                self.room(size + len(waiting))
        self.spend(size - letters + letters // 16)  # texts are compared and copied quickly
        return size

    def counted(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items, each counted when it is taken."""
        for item in items:
            self.spend(10)
            yield item

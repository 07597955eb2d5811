"""Reads and checks the settings of a TOML file, and collects every mistake with its line."""

from __future__ import annotations

import difflib
import json
import math
import re
import tomllib
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import TypeVar

from p2pinfer.errors import UsageError
from p2pinfer.outside.url_secrets import masked
from p2pinfer.owner.policy.certainty import finite_number
from p2pinfer.owner.policy.toml_lines import Place, lines_of
from p2pinfer.owner.policy.toml_shape import ShapeError, check_shape
from p2pinfer.plain_text import printable

Choice = TypeVar("Choice", bound=StrEnum)

MOST_PROBLEMS = 30  # are told at a time
_PROBLEM_CHARACTERS = 300
_SHOWN_CHARACTERS = 60  # of a wrong value are shown
_DECODE_ERROR = re.compile(r"(.*) \((?:at line (\d+), column \d+|at end of document)\)", re.DOTALL)


class TomlFile:
    """A parsed file, and the problems found in it so far. `name` is the file's name in messages."""

    def __init__(self, text: str, name: str) -> None:
        """Raises UsageError, which names the line, if `text` isn't TOML, or TOML that nobody would write."""
        self._name = name
        self._problems: list[tuple[int, str]] = []
        try:
            check_shape(text)
            self._values: Mapping[str, object] = tomllib.loads(text)
        except ShapeError as error:
            raise UsageError(f"{name} line {error.line}: {error}") from error
        except tomllib.TOMLDecodeError as error:
            found = _DECODE_ERROR.fullmatch(str(error))
            line = int(found[2]) if found and found[2] else text.count("\n") + 1
            raise UsageError(f"{name} line {line}: {found[1] if found else error}") from error
        self._lines = dict(lines_of(text))
        for place, line in list(self._lines.items()):  # [a.b] is the place of `a` too
            for length in range(1, len(place)):
                self._lines.setdefault(place[:length], line)
        self.root = TomlTable(self, (), self._values)  # the settings outside of all tables, and the tables

    def line(self, place: Place) -> int:
        """The line of `place`, or of its table if `place` doesn't exist."""
        while place and place not in self._lines:
            place = place[:-1]
        return self._lines.get(place, 1)

    def problem(self, place: Place, words: str) -> None:
        """Note a problem at `place`. The words become one line that is safe for a terminal."""
        self._problems.append((self.line(place), printable(words, _PROBLEM_CHARACTERS)))

    def raise_problems(self) -> None:
        """Raise UsageError with the problems, in the order of their lines, if there are any."""
        found = sorted(set(self._problems))
        lines = [f"{self._name} line {line}: {words}" for line, words in found[:MOST_PROBLEMS]]
        if left := len(found) - len(lines):
            lines.append(f"{self._name} has {left} more mistake{'' if left == 1 else 's'} after these")
        if lines:
            raise UsageError("\n".join(lines))


class TomlTable:
    """A table whose settings are taken one by one. `finish` then complains about settings that are left.

    A method that takes a setting notes a problem and returns the default if the value isn't as expected.
    """

    def __init__(self, file: TomlFile, place: Place, values: Mapping[str, object]) -> None:
        self._file = file
        self._place = place
        self._values = values
        self._known: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def __bool__(self) -> bool:
        return bool(self._values)

    def complain(self, key: str, words: str) -> None:
        """Note a problem in the line of `key`, or in the table's line if it has no such key."""
        self._file.problem((*self._place, key), words)

    def shown(self, key: str) -> str:
        """`key = value` as in the file, cut if it is long."""
        value = _as_toml(self._values.get(key))
        cut = value if len(value) <= _SHOWN_CHARACTERS else f"{value[:_SHOWN_CHARACTERS]}…"
        return f"{key} = {cut}"

    def expected(self, key: str, what: str) -> None:
        """Note that the value of `key` is wrong; `what` describes a right one."""
        self.complain(key, f"{self.shown(key)}: {what} is expected")

    def table(self, key: str, example: str = "") -> TomlTable:
        """The table `key`; an empty table if it doesn't exist."""
        value = self._take(key)
        if value is not None and not isinstance(value, dict):
            self.expected(key, f"a table, such as {example or f'[{key}]'},")
            value = None
        return TomlTable(self._file, (*self._place, key), value or {})

    def tables(self, key: str, example: str) -> tuple[TomlTable, ...]:
        """The list of tables `key`; empty if it doesn't exist."""
        value = self._take(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
            self.expected(key, f"a list such as {example}")
            return ()
        return tuple(
            TomlTable(self._file, (*self._place, key, index), item) for index, item in enumerate(value)
        )

    def flag(self, key: str, default: bool = False) -> bool:
        """A setting that is true or false."""
        value = self._take(key)
        if value is None or isinstance(value, bool):
            return default if value is None else value
        self.expected(key, "true or false")
        return default

    def number(
        self, key: str, what: str, *, low: float = -math.inf, high: float = math.inf, whole: bool = False
    ) -> float | None:
        """A finite number from `low` to `high`; `what` describes it in words."""
        value = self._take(key)
        if value is None:
            return None
        number = finite_number(value)
        if number is None or not low <= number <= high or (whole and number % 1):
            self.expected(key, what)
            return None
        return number

    def text(self, key: str, what: str, *, pattern: str = r"[^\x00-\x1f]+", secret: bool = False) -> str:
        """A text that matches the whole `pattern`; empty if it doesn't exist. No message shows a secret."""
        value = self._take(key)
        if value is None:
            return ""
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            if secret:
                self.complain(key, f"{key}: {what} is expected")
            else:
                self.expected(key, what)
            return ""
        return value

    def texts(self, key: str, what: str, *, empty_ones: bool = False) -> tuple[str, ...]:
        """A list of at least one text, or a single text; () if it doesn't exist."""
        value = self._take(key)
        if value is None:
            return ()
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list) or not items:
            self.expected(key, what)
            return ()
        for index, item in enumerate(items):
            if not isinstance(item, str) or not (item or empty_ones):
                self._file.problem(
                    (*self._place, key, index),
                    f"{key}: {_as_toml(item)} is among them, but {what} is expected",
                )
                return ()
        return tuple(items)

    def choice(self, key: str, words: type[Choice], among: Collection[Choice] | None = None) -> Choice | None:
        """One of the words in `among`, or else of all `words`."""
        value = self._take(key)
        allowed = tuple(among or words)
        if value is None:
            return None
        if value not in [str(word) for word in allowed]:
            hint = _closest(str(value), [str(word) for word in allowed])
            choices = " or ".join(f'"{word}"' for word in allowed)
            self.complain(key, f"{self.shown(key)}: {choices} is expected{hint}")
            return None
        return words(str(value))

    def raw(self, key: str) -> object:
        """The value of any type; the caller checks it."""
        return self._take(key)

    def item_problem(self, key: str, index: int, words: str) -> None:
        """Note a problem with an item of the list `key`."""
        self._file.problem((*self._place, key, index), words)

    def finish(self, also: Collection[str] = ()) -> None:
        """Note a problem for every key that wasn't taken and isn't in `also`."""
        self._known.update(also)
        unknown = [key for key in self._values if key not in self._known]
        for number, key in enumerate(unknown):
            # A hint takes milliseconds, and no more problems than these are told.
            hint = _closest(key, self._known) if number < MOST_PROBLEMS else ""
            where = f"[{'.'.join(map(str, self._place))}]" if self._place else "the file"
            self.complain(key, f"{key}: {where} has no such setting{hint}")

    def _take(self, key: str) -> object:
        self._known.add(key)
        return self._values.get(key)


def _closest(word: str, known: Collection[str]) -> str:
    found = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return f" (do you mean {found[0]}?)" if found else ""


def _as_toml(value: object) -> str:
    return masked(json.dumps(value, ensure_ascii=False, default=str))

"""The line of every setting in a TOML file: messages must name it, and tomllib returns values only.

The text has been accepted by tomllib before, so nothing is checked here.
Grammar: https://toml.io/en/v1.0.0
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left
from collections.abc import Mapping

Place = tuple[str | int, ...]
"""Keys from the outside to the inside; in a list, the index."""

_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{1,2}(?!"))?'
    r"|'''.*?'''(?:'{1,2}(?!'))?"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_PLAIN_VALUE = re.compile(r"[^,\]}#\n]+")


def lines_of(text: str) -> Mapping[Place, int]:
    """The line number, from 1, of every table and every setting of a valid TOML text, also of nested ones."""
    return _Scanner(text).scan()


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._line_ends = [found.start() for found in re.finditer("\n", text)]
        self._position = 0
        self._lines: dict[Place, int] = {}
        self._lengths: dict[Place, int] = {}  # of lists of tables: the number of tables so far

    def scan(self) -> Mapping[Place, int]:
        table: Place = ()
        self._skip(_BLANK)
        while self._position < len(self._text):
            if self._at("[["):
                self._position += 2
                table = self._list_item(self._key())
            elif self._at("["):
                self._position += 1
                table = self._inside(self._key())
                self._note(table)
            else:
                self._setting(table)
            self._skip(_BLANK, "]")
        return self._lines

    def _list_item(self, key: Place) -> Place:
        """The next table of a list of tables, `[[key]]`."""
        place = (*self._inside(key[:-1]), key[-1])
        index = self._lengths.get(place, 0)
        self._lengths[place] = index + 1
        self._note(place)
        self._note((*place, index))
        return (*place, index)

    def _inside(self, key: Place) -> Place:
        """A header's key. Where it leads into a list of tables, the index of the last table is put in."""
        place: Place = ()
        for part in key:
            place = (*place, part)
            if place in self._lengths:
                place = (*place, self._lengths[place] - 1)
        return place

    def _setting(self, table: Place) -> None:
        start = self._position
        path = (*table, *self._key())
        for length in range(len(table) + 1, len(path) + 1):
            self._note(path[:length], start)
        self._skip(_BLANK, "=")
        self._value(path)

    def _key(self) -> Place:
        parts: list[str | int] = []
        while True:
            self._skip(_BLANK)
            found = STRING.match(self._text, self._position) or _BARE_KEY.match(self._text, self._position)
            if found is None:
                raise ValueError("not a TOML text that tomllib has accepted")
            self._position = found.end()
            # Let tomllib read the escapes of a quoted key.
            quoted = found[0][0] in "\"'"
            parts.append(tomllib.loads(f"key = {found[0]}")["key"] if quoted else found[0])
            self._skip(_BLANK)
            if not self._at("."):
                return tuple(parts)
            self._position += 1

    def _value(self, path: Place) -> None:
        self._note(path)
        if self._at("["):
            self._position += 1
            self._skip(_BLANK)
            index = 0
            while not self._at("]"):
                self._value((*path, index))
                index += 1
                self._skip(_BLANK, ",")
            self._position += 1
        elif self._at("{"):
            self._position += 1
            self._skip(_BLANK)
            while not self._at("}"):
                self._setting(path)
                self._skip(_BLANK, ",")
            self._position += 1
        else:
            found = STRING.match(self._text, self._position) or _PLAIN_VALUE.match(self._text, self._position)
            if found is None:
                raise ValueError("not a TOML text that tomllib has accepted")
            self._position = found.end()

    def _at(self, token: str) -> bool:
        return self._text.startswith(token, self._position)

    def _skip(self, pattern: re.Pattern[str], also: str = "") -> None:
        """Skip blanks, comments, and the characters in `also`."""
        while True:
            found = pattern.match(self._text, self._position)
            self._position = found.end() if found else self._position
            if not also or self._position >= len(self._text) or self._text[self._position] not in also:
                return
            self._position += 1

    def _note(self, path: Place, position: int | None = None) -> None:
        at = self._position if position is None else position
        self._lines.setdefault(path, bisect_left(self._line_ends, at) + 1)

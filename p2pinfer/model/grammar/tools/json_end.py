"""Finds where a JSON object ends, in a text that comes in pieces."""

from __future__ import annotations


class JsonEnd:
    """Counts braces and brackets outside of strings. It doesn't check that the text is JSON."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._is_escaped = False

    def feed(self, text: str) -> int | None:
        """How many characters of the next piece belong to the object; None: all of them, and more to come."""
        for at, character in enumerate(text):
            if self._is_escaped:
                self._is_escaped = False
            elif self._in_string:
                self._is_escaped = character == "\\"
                self._in_string = character != '"'
            elif character == '"':
                self._in_string = True
            elif character in "{[":
                self._depth += 1
            elif character in "}]":
                self._depth -= 1
                if self._depth <= 0:
                    return at + 1
        return None

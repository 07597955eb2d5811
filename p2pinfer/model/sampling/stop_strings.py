"""Finds the texts that end an answer, wherever the borders of tokens lie."""

from __future__ import annotations

from collections.abc import Sequence

from p2pinfer.errors import UsageError


class StopStrings:
    """Lets text through up to the first stop text. Holds back what could still become one.

    The stop text that is complete first ends the answer; of several that end at the same character, the
    longest. So the outcome doesn't depend on how the text is cut into pieces. The algorithm is Knuth, Morris
    and Pratt's, one state per stop text: a constant time per character, whatever the texts.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        """Raises UsageError for an empty stop text."""
        for stop in stops:
            if not isinstance(stop, str) or not stop:
                raise UsageError(f"stop has {stop!r}: a stop text has at least one character")
        self._stops = [_Stop(stop) for stop in stops]
        self._held = ""

    def feed(self, text: str) -> tuple[str, str | None]:
        """Take the next piece. Returns what can be shown now, and the stop text that has ended the answer.

        After a stop text, nothing may be fed any more.
        """
        if not self._stops:
            return text, None
        seen = self._held + text
        for place, character in enumerate(text, len(self._held) + 1):
            found = [stop.text for stop in self._stops if stop.step(character)]
            if found:
                longest = max(found, key=len)
                self._held = ""
                return seen[: place - len(longest)], longest
        held = max(stop.matched for stop in self._stops)
        self._held = seen[len(seen) - held :]
        return seen[: len(seen) - held], None

    def flush(self) -> str:
        """What is still held back: the answer has ended, and it was no stop text."""
        held, self._held = self._held, ""
        return held


class _Stop:
    """One stop text, and how many of its characters the last ones are."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.matched = 0
        self._borders = _borders(text)

    def step(self, character: str) -> bool:
        """Take one character. True if the text is complete now."""
        while self.matched and self.text[self.matched] != character:
            self.matched = self._borders[self.matched - 1]
        if self.text[self.matched] == character:
            self.matched += 1
        return self.matched == len(self.text)


def _borders(text: str) -> list[int]:
    """For each beginning of the text, the length of its longest proper beginning that is its end as well."""
    borders = [0]
    for character in text[1:]:
        length = borders[-1]
        while length and text[length] != character:
            length = borders[length - 1]
        borders.append(length + (text[length] == character))
    return borders

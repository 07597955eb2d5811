"""What can be wrong with a source, in words for its owner."""

from __future__ import annotations


class SourceError(Exception):
    """A source that is absent, broken, silent, or says what makes no sense.

    `kind` is the same for troubles that the log needs to hear of once only; `hopeless` is True where trying
    again soon is no use, and might get us locked out: credentials that were refused.
    """

    def __init__(self, words: str, *, kind: str, hopeless: bool = False) -> None:
        super().__init__(shown(words, 300))
        self.kind = kind
        self.hopeless = hopeless


def shown(text: str, most: int = 100) -> str:
    """The text as it may be shown on a terminal or logged: one line, nothing hidden, not too long."""
    cut = text if len(text) <= most else text[: most - 1] + "…"
    return "".join(character if character.isprintable() else "?" for character in cut)

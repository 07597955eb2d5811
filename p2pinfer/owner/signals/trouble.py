"""What can be wrong with a source, in words for its owner."""

from __future__ import annotations

from p2pinfer.plain_text import printable


class SourceError(Exception):
    """A source is absent, broken or silent, or its message makes no sense.

    Troubles of the same `kind` are logged once. `hopeless` is True if trying again soon is useless and could
    get us locked out: the source has refused our credentials.
    """

    def __init__(self, words: str, *, kind: str, hopeless: bool = False) -> None:
        super().__init__(printable(words, 300))
        self.kind = kind
        self.hopeless = hopeless

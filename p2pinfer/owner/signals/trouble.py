"""What can be wrong with a source, in words for its owner."""

from __future__ import annotations

from dataclasses import dataclass

from p2pinfer.plain_text import printable

NAME_ANOTHER = "name another source in [signals], or take the condition out of [when]"
"""The advice for a signal that this machine can't tell."""

NO_INSTRUMENT = "no instrument"
"""The kind of trouble of a machine that lacks the program or the sensor that could tell. It won't tell
tomorrow either."""


class SourceError(Exception):
    """A source is absent, broken or silent, or its message makes no sense.

    Troubles of the same `kind` are logged once. `advice` says what the owner can do; it may be empty.
    `hopeless` is True if trying again soon is useless and could get us locked out: the source has refused our
    credentials.
    """

    def __init__(self, words: str, *, kind: str, advice: str = "", hopeless: bool = False) -> None:
        super().__init__(printable(words, 300))
        self.kind = kind
        self.advice = advice
        self.hopeless = hopeless


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why the value of a signal isn't known. Signals that fail together have equal troubles."""

    origin: str  # the source that has the trouble: `mqtt broker localhost:1883`
    kind: str  # for programs; the same trouble may be told in other words later
    words: str
    advice: str = ""  # what the owner can do

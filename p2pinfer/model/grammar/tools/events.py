"""What an answer that may call tools turns out to be, piece by piece."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TextShown:
    """Text for the reader."""

    text: str


@dataclass(frozen=True, slots=True)
class CallBegan:
    """The model calls a tool. `index` counts the calls of one answer from 0."""

    index: int
    name: str


@dataclass(frozen=True, slots=True)
class ArgumentsPiece:
    """The next piece of a call's arguments. The pieces together are a JSON object, as the model wrote it."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class CallEnded:
    """Nothing more of this call comes. `is_whole` is False if the answer was cut within its arguments."""

    index: int
    is_whole: bool


ToolEvent = TextShown | CallBegan | ArgumentsPiece | CallEnded

"""Takes an answer apart as it comes: text, and calls of tools if the request has some."""

from __future__ import annotations

from typing import Protocol

from p2pinfer.model.grammar.tools.events import TextShown, ToolEvent


class MessageReader(Protocol):
    """The state of one answer. `CallReader` is one."""

    def feed(self, piece: str) -> list[ToolEvent]:
        """What the next piece makes certain."""

    def finish(self) -> list[ToolEvent]:
        """What is left when the answer has ended."""


class PlainReader:
    """A reader of answers that call no tools."""

    def feed(self, piece: str) -> list[ToolEvent]:
        """The piece."""
        return [TextShown(piece)] if piece else []

    def finish(self) -> list[ToolEvent]:
        """Nothing."""
        return []

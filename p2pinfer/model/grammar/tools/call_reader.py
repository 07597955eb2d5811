"""Takes an answer apart as it comes: text for the reader, and calls of tools.

What begins like a call and isn't one is text. Whitespace around calls belongs to them. The pieces must show
special tokens: in some models the marks are such.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from p2pinfer.model.grammar.tools.events import ArgumentsPiece, CallBegan, CallEnded, TextShown, ToolEvent
from p2pinfer.model.grammar.tools.json_end import JsonEnd
from p2pinfer.model.grammar.tools.layout import CallLayout, Tokens
from p2pinfer.model.grammar.tools.matching import WHITESPACE, Found, Unfinished, match, match_any


class CallReader:
    """The state of one answer. Give it every piece with `feed`, and end it with `finish`."""

    def __init__(self, layout: CallLayout, names: Collection[str]) -> None:
        """`names` are the tools; a call of another is text."""
        self.calls = 0
        """How many calls have begun."""
        self._layout = layout
        self._names = frozenset(names)
        self._held = ""
        """What isn't decided yet."""
        self._reads = self._text
        """What is expected next."""
        self._may_begin_unmarked = not layout.is_marked
        self._end = JsonEnd()

    def feed(self, piece: str) -> list[ToolEvent]:
        """What the next piece makes certain, in order."""
        self._held += piece
        return list(self._events(is_last=False))

    def finish(self) -> list[ToolEvent]:
        """What is left when the answer has ended.

        A call that was cut before its arguments began is text if it is the first. Of a later one nothing is
        shown.
        """
        events = list(self._events(is_last=True))
        if self._reads == self._arguments:
            events.append(CallEnded(self.calls - 1, is_whole=False))
        return events

    def _events(self, *, is_last: bool) -> Iterator[ToolEvent]:
        """Read on until nothing changes any more."""
        before = None
        while self._held and (self._held, self._reads) != before:
            before = (self._held, self._reads)
            yield from self._reads(is_last)

    def _text(self, is_last: bool) -> Iterator[ToolEvent]:
        """Text, until a call begins, or may begin."""
        if self._may_begin_unmarked:
            began = self._head(())
            if isinstance(began, Unfinished) and not is_last:
                return
            self._may_begin_unmarked = False
            if isinstance(began, Found):
                yield from self._begin(began)
                return
        mark = self._layout.mark
        at = self._held.find(mark)
        if at < 0:
            if is_last and self.calls and not self._held.strip(WHITESPACE):
                self._held = ""
            yield from self._show(len(self._held) if is_last else _certain(self._held, mark))
            return
        yield from self._show(len(self._held[:at].rstrip(WHITESPACE)))
        began = self._head((mark, *self._layout.opening))
        if isinstance(began, Found):
            yield from self._begin(began)
        elif began is None or is_last:
            yield from self._show(self._held.index(mark) + len(mark))

    def _arguments(self, is_last: bool) -> Iterator[ToolEvent]:
        end = self._end.feed(self._held)
        piece = self._held if end is None else self._held[:end]
        self._held = self._held[len(piece) :]
        yield ArgumentsPiece(self.calls - 1, piece)
        if end is not None:
            yield CallEnded(self.calls - 1, is_whole=True)
            self._reads = self._closing

    def _closing(self, is_last: bool) -> Iterator[ToolEvent]:
        """What stands after the arguments, which nobody is shown."""
        yield from ()
        closed = match(self._held, self._layout.closing)
        if isinstance(closed, Unfinished):
            self._held = "" if is_last else self._held
            return
        self._held = self._held[closed.end :] if closed else self._held
        self._reads = self._after

    def _after(self, is_last: bool) -> Iterator[ToolEvent]:
        """Another call, or the end of all calls, or text again."""
        separator, ending = self._layout.separator, self._layout.ending
        began = self._head(separator) if separator is not None else None
        if isinstance(began, Found):
            yield from self._begin(began)
            return
        ended = match(self._held, ending) if ending else None
        if isinstance(began, Unfinished) or isinstance(ended, Unfinished):
            self._held = "" if is_last else self._held
            return
        self._held = self._held[ended.end :] if ended else self._held
        self._reads = self._text

    def _head(self, before: Tokens) -> Found | Unfinished | None:
        """Match what leads to a call's arguments, with the brace that opens them."""
        ways = [(*before, *head, "{") for head in self._layout.heads]
        return match_any(self._held, ways, self._names)

    def _begin(self, head: Found) -> Iterator[ToolEvent]:
        self._held = self._held[head.end - 1 :]
        self._reads, self._end = self._arguments, JsonEnd()
        self.calls += 1
        yield CallBegan(self.calls - 1, head.name)

    def _show(self, count: int) -> Iterator[ToolEvent]:
        shown, self._held = self._held[:count], self._held[count:]
        if shown:
            yield TextShown(shown)


def _certain(text: str, mark: str) -> int:
    """How much of a text can't be part of a mark, nor be whitespace in front of one."""
    for length in range(min(len(mark) - 1, len(text)), 0, -1):
        if mark.startswith(text[-length:]):
            return len(text[:-length].rstrip(WHITESPACE))
    return len(text.rstrip(WHITESPACE))

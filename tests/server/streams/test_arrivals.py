"""A lane finds its session, however its hello and the session's opening come in."""

from __future__ import annotations

from collections import deque
from typing import Any

from p2pinfer.server.frames.frame_room import frame_bound
from p2pinfer.server.frames.incoming import IncomingFrames
from p2pinfer.server.streams.arrivals import STRANGERS, Arrivals
from p2pinfer.types import SessionId
from p2pinfer.wire.hello import Hello, Role

SESSION = SessionId(bytes(range(16)))
HELLO = Hello(Role.STEPS, SESSION, bytes(32))


class Inbox:
    """The computing thread as arrivals use it: calls wait until `drain`."""

    def __init__(self) -> None:
        self.calls: deque[Any] = deque()
        self.watched: dict[Any, Any] = {}
        self.now = 0.0

    def call(self, work: Any, *arguments: Any) -> None:
        self.calls.append((work, arguments))

    def watch(self, lane: Any, when_readable: Any) -> None:
        self.watched[lane] = when_readable

    def unwatch(self, lane: Any) -> None:
        self.watched.pop(lane, None)

    def drain(self) -> None:
        while self.calls:
            work, arguments = self.calls.popleft()
            work(*arguments)


class NewLane:
    """A lane with these frames in it."""

    sources = ()
    room_bytes: int | None = None
    partial_bytes = lacks_room_bytes = 0

    def __init__(self, *frames: bytes, host: str = "") -> None:
        self.frames = deque(frames)
        self.is_closed = False
        self.host = host

    def receive(self) -> bytes | None:
        return self.frames.popleft() if self.frames else None

    def close(self) -> None:
        self.is_closed = True


class Stream:
    """A session's stream that takes every lane."""

    def __init__(self) -> None:
        self.lanes: list[Any] = []

    def welcome(self, lane: Any, hello: Hello) -> bool:
        assert hello == HELLO
        self.lanes.append(lane)
        return True


def arrivals(inbox: Inbox) -> Any:
    incoming = IncomingFrames(frame_bound(1000), inbox.call, lambda: inbox.now)
    return Arrivals(inbox, incoming, 1000)  # type: ignore[arg-type]


def test_a_hello_that_overtakes_its_sessions_opening_in_the_inbox_is_not_turned_away():
    """The lane was accepted before the session was opened, and its hello is there when the lane is met."""
    inbox, stream, lane = Inbox(), Stream(), NewLane(HELLO.pack())
    lanes = arrivals(inbox)
    inbox.call(lanes.meet, lane)
    inbox.call(lanes.open, SESSION, stream)
    inbox.drain()

    assert stream.lanes == [lane] and not lane.is_closed and not lanes.strangers


def test_a_lane_of_no_session_is_closed():
    inbox, lane = Inbox(), NewLane(HELLO.pack())
    inbox.call(arrivals(inbox).meet, lane)
    inbox.drain()

    assert lane.is_closed and not inbox.watched


def test_what_follows_a_hello_waits_for_the_session():
    """Nothing reads the lane between its hello and its session, which alone knows how long frames may be."""
    inbox, lane = Inbox(), NewLane(HELLO.pack(), b"a step")
    arrivals(inbox).meet(lane)

    assert lane.frames == deque([b"a step"]) and lane not in inbox.watched


def test_a_lane_that_was_given_up_meanwhile_goes_to_no_session():
    """More strangers came than there is room for, before its hello was looked at."""
    inbox, stream, lane = Inbox(), Stream(), NewLane(HELLO.pack())
    lanes = arrivals(inbox)
    lanes.open(SESSION, stream)
    lanes.meet(lane)
    for _ in range(STRANGERS.in_all):
        lanes.meet(NewLane())
    inbox.drain()

    assert lane.is_closed and stream.lanes == []

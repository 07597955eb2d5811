"""Who may have how many bytes of frames that have come in part, and when one of them has to go. Pure.

A short frame needs no room: there are few lanes, and each has one at most. A longer one gets room for all of
it before more of it is read, or waits: its sender is slowed down by TCP. Whoever has room is read on until
the frame is there, or it is given up: so nobody waits for ever.

A frame may be slow, as from a home with a slow uplink, but it has to move. Seconds in which nobody reads it
don't count against its sender.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.shares import Bound, Lack, Shares

SHORT_FRAME_BYTES = 32 * 1024
"""A decode step of one row takes less, in models up to 8,000 wide."""

SLOWEST_BYTES_PER_SECOND = 16 * 1024
"""An eighth of a Mbit/s. A home that sends 5 Mbit/s takes 13 s for 8 MB, a prefill of 512 tokens in a model
4,096 wide, and several sessions may share it."""

GRACE_SECONDS = 10.0
"""A frame may come more slowly for so long: a short one has to be there by then."""

PRESSED_SECONDS = 2.0
PRESSED_BYTES_PER_SECOND = 128 * 1024
"""The same for frames that have room which others lack: 1 Mbit/s. Who waits for its own share, or that of its
network, doesn't press: those are often frames of the same slow uplink."""

_LEAST_BYTES = 16 << 20

_Name = TypeVar("_Name")


def frame_bound(longest_bytes: int) -> Bound:
    """How many bytes there are for frames of which the longest has `longest_bytes`."""
    longest = max(longest_bytes, _LEAST_BYTES // 8)
    return Bound(in_all=8 * longest, per_source=4 * longest, per_key=2 * longest, for_known=2 * longest)


class _Patience(NamedTuple):
    seconds: float
    bytes_per_second: float
    still_seconds: float  # for a frame that has room and isn't read, because its session has a step here


_USUAL = _Patience(GRACE_SECONDS, SLOWEST_BYTES_PER_SECOND, 60.0)
_PRESSED = _Patience(PRESSED_SECONDS, PRESSED_BYTES_PER_SECOND, 10.0)


class Arrived(NamedTuple):
    """How far a frame is."""

    bytes: int
    is_read: bool
    """False while its lane isn't read, because its session has a step here."""


@dataclass(slots=True)
class _Frame:
    guest: Guest
    room: int = 0  # 0: it is a short one
    read_seconds: float = 0.0
    still_seconds: float = 0.0


class FrameRoom(Generic[_Name]):
    """The frames that have come in part, by whatever the caller calls them."""

    def __init__(self, bound: Bound) -> None:
        self._shares = Shares(bound)
        self._frames: dict[_Name, _Frame] = {}
        self._waiting: dict[_Name, tuple[Guest, int]] = {}  # who waits longest comes first

    def __len__(self) -> int:
        """How many frames have come in part, those that wait included."""
        return len(self._frames)

    @property
    def bytes_taken(self) -> int:
        """What all longer frames together have room for."""
        return self._shares.taken

    def begin(self, name: _Name, guest: Guest) -> None:
        """A frame has come in part, or is to come; harmless if that is known."""
        if name not in self._frames:
            self._frames[name] = _Frame(guest)

    def ask(self, name: _Name, length: int) -> bool:
        """Ask for room for a frame that has begun; False: it waits, see `give`."""
        frame = self._frames[name]
        if frame.room:
            return True
        self._waiting.setdefault(name, (frame.guest, min(length, self._shares.bound.per_key)))
        return name in self.give()

    def give(self) -> list[_Name]:
        """Give room to those that wait and can have it, who waits longest first. Returns them."""
        given, nobody, no_stranger = [], False, False
        for name, (guest, amount) in self._waiting.items():
            if nobody:
                break
            if no_stranger and not guest.is_known:
                continue
            lack = self._shares.lack(guest, amount)
            nobody, no_stranger = lack is Lack.ALL, no_stranger or lack is Lack.STRANGERS
            if lack is None:
                self._shares.take(guest, amount)
                self._frames[name].room = amount
                given.append(name)
        for name in given:
            del self._waiting[name]
        return given

    def end(self, name: _Name) -> bool:
        """A frame is there or was given up; harmless if it isn't known. True: others may get room, `give`."""
        frame = self._frames.pop(name, None)
        has_waited = self._waiting.pop(name, None) is not None
        if frame is not None and frame.room:
            self._shares.give_back(frame.guest, frame.room)
        elif not has_waited:
            return False
        return bool(self._waiting)

    def look(self, seconds: float, arrived: Callable[[_Name], Arrived]) -> list[_Name]:
        """Let `seconds` pass. Returns the frames to give up; `end` them."""
        gone: list[_Name] = []
        slow: dict[_Name, float] = {}  # those that have room for which others wait, and their bytes a second
        for name, frame in self._frames.items():
            if name in self._waiting:
                continue
            received, is_read = arrived(name)
            if is_read:
                frame.read_seconds += seconds
            else:
                frame.still_seconds += seconds
            if _is_overdue(frame, received, _USUAL):
                gone.append(name)
            elif self._waiting and frame.room and _is_overdue(frame, received, _PRESSED):
                slow[name] = received / (frame.read_seconds + frame.still_seconds)
        slow = {name: slow[name] for name in sorted(slow, key=lambda name: slow[name])}
        return gone + self._in_the_way(slow)

    def _in_the_way(self, slow: Iterable[_Name]) -> list[_Name]:
        """Of slow frames that have room, those without which others that wait could have theirs."""
        left, gone = list(slow), []
        for guest, amount in self._waiting.values():
            if not left:
                break
            if self._shares.lack(guest, amount) not in (Lack.ALL, Lack.STRANGERS):
                continue
            freed = 0
            for name in list(left):
                holder = self._frames[name]
                if freed < amount and (guest.is_known or not holder.guest.is_known):
                    left.remove(name)
                    gone.append(name)
                    freed += holder.room
        return gone


def _is_overdue(frame: _Frame, received: int, patience: _Patience) -> bool:
    """True if less has come than should have; only those that have room may not stand still for long."""
    if frame.room and frame.still_seconds > patience.still_seconds:
        return True
    return received < patience.bytes_per_second * (frame.read_seconds - patience.seconds)

"""What one end of a tunnel has sent and received, whichever streams carried it. Pure.

What was sent is kept until the other end has acknowledged it. The next stream begins where the other end has
got to, so nothing is lost. Every message says where its bytes belong, so what comes twice is dropped, even if
two streams deliver side by side.
"""

from __future__ import annotations

from p2pinfer.errors import ProtocolError
from p2pinfer.swarm.tunnel.messages import MOST_BYTES, Kind, encode

ACKNOWLEDGE_BYTES = 64 * 1024


class Sending:
    """The direction from here to the other end."""

    def __init__(self) -> None:
        self._kept = bytearray()  # from `acknowledged` on
        self.acknowledged = 0  # the other end has everything before this offset
        self.written = 0  # the furthest that any stream has been given
        self.end = 0  # behind what has been put in; the end itself counts as a byte
        self.has_ended = False

    @property
    def kept_bytes(self) -> int:
        """What waits for an acknowledgement."""
        return len(self._kept)

    @property
    def is_delivered(self) -> bool:
        """True if the other end has everything, the end included."""
        return self.has_ended and self.acknowledged == self.end

    def put(self, data: bytes) -> None:
        """Append what is to be sent."""
        assert not self.has_ended
        self._kept += data
        self.end += len(data)

    def put_end(self) -> None:
        """Nothing more comes."""
        assert not self.has_ended
        self.has_ended = True
        self.end += 1

    def acknowledge(self, offset: int) -> None:
        """Forget what comes before `offset`. Raises ProtocolError if that has never been written."""
        if offset > self.written:
            raise ProtocolError(f"a tunnel's peer has byte {offset}, of {self.written} that were sent")
        if offset > self.acknowledged:
            del self._kept[: offset - self.acknowledged]
            self.acknowledged = offset

    def message(self, position: int) -> tuple[bytes, int]:
        """The next message behind `position`, and the position behind it; no bytes if there is none."""
        position = max(position, self.acknowledged)
        if position == self.end:
            return b"", position
        start = position - self.acknowledged
        if start == len(self._kept):
            message, behind = encode(Kind.END, position), position + 1
        else:
            stop = min(start + MOST_BYTES, len(self._kept))
            with memoryview(self._kept) as view, view[start:stop] as piece:
                message, behind = encode(Kind.DATA, position, piece), position + stop - start
        self.written = max(self.written, behind)
        return message, behind


class Receiving:
    """The direction from the other end to here."""

    def __init__(self) -> None:
        self.received = 0  # everything before this offset is here; the end counts as a byte
        self.has_ended = False

    def take(self, offset: int, data: bytes) -> bytes:
        """The part of `data` that is new. Raises ProtocolError for a gap, or for data behind the end."""
        behind = offset + len(data)
        if offset > self.received:
            raise ProtocolError(f"a tunnel goes on at byte {offset} instead of {self.received}")
        if self.has_ended and behind >= self.received:
            raise ProtocolError("a tunnel goes on behind its end")
        if behind <= self.received:
            return b""
        new = data[self.received - offset :]
        self.received = behind
        return new

    def take_end(self, offset: int) -> bool:
        """True if the end is new. Raises ProtocolError if it isn't where the data end."""
        if offset != self.received - self.has_ended:
            raise ProtocolError(f"a tunnel ends at byte {offset} instead of {self.received}")
        is_new = not self.has_ended
        if is_new:
            self.has_ended = True
            self.received += 1
        return is_new


class State:
    """Both directions, and when acknowledgements are due.

    They travel with data. Alone they are sent after 64 KiB, after the end, and where the owner asks for it.
    """

    def __init__(self) -> None:
        self.sending = Sending()
        self.receiving = Receiving()
        self._acknowledged = 0  # of `receiving`, on the present stream
        self._is_due = False

    @property
    def owes_acknowledgement(self) -> bool:
        """True if the other end hasn't been told all that is here."""
        return self._acknowledged != self.receiving.received

    @property
    def has_ended(self) -> bool:
        """True if both directions have ended, though the other end may not know that yet."""
        return self.sending.has_ended and self.receiving.has_ended

    @property
    def is_finished(self) -> bool:
        """True if both ends have everything and know that of each other."""
        return self.sending.is_delivered and self.receiving.has_ended and not self.owes_acknowledgement

    def resume(self, offset: int) -> None:
        """Begin on a new stream, where the other end says that it has `offset`.

        It may have had more before: acknowledgements travel on the last stream too. Raises ProtocolError for
        an offset that can't be. What was acknowledged on the last stream may be lost: it is due again.
        """
        self.sending.acknowledge(offset)
        self.acknowledge_soon()

    def acknowledge_soon(self) -> None:
        """Acknowledge with the next bytes, though no data go with it."""
        self._is_due = True

    def take(self, offset: int, data: bytes) -> bytes:
        """What is new of received data. Raises ProtocolError."""
        new = self.receiving.take(offset, data)
        if self.receiving.received - self._acknowledged >= ACKNOWLEDGE_BYTES:
            self._is_due = True
        return new

    def take_end(self, offset: int) -> bool:
        """True if the other end's end is new. Raises ProtocolError."""
        self._is_due = True
        return self.receiving.take_end(offset)

    def next_bytes(self, position: int) -> tuple[bytes, int]:
        """What to write next on a stream that has all before `position`, and the position behind it."""
        message, behind = self.sending.message(position)
        if self._is_due or (message and self.owes_acknowledgement):
            self._is_due = False
            self._acknowledged = self.receiving.received
            message = encode(Kind.ACK, self._acknowledged) + message
        return message, behind

    @property
    def is_due(self) -> bool:
        """True if an acknowledgement is due even without data."""
        return self._is_due

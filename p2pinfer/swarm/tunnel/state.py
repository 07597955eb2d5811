"""What one end of a tunnel has sent and received, whichever streams carried it. Pure.

What was sent is kept until the other end has acknowledged it. The next stream begins where the other end has
got to, so nothing is lost. Every message says where its bytes belong, so what comes twice is dropped, even if
two streams deliver side by side.
"""

from __future__ import annotations

from p2pinfer.errors import ProtocolError
from p2pinfer.swarm.tunnel.messages import MOST_BYTES, Kind, encode

WINDOW_BYTES = 1024 * 1024
"""How much one direction sends before an acknowledgement comes: 10 MB/s over 100 ms.

The receiver never stops reading a stream, because acknowledgements of the other direction come on it too: two
ends that each wait for room would stand still. What its local connection doesn't take stays unacknowledged.
"""

ACKNOWLEDGE_BYTES = 64 * 1024  # by a message of their own
_WITH_DATA_BYTES = 16 * 1024  # fewer wait for more: an acknowledgement takes as long as a step


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
        self.delivered = 0  # the local connection has taken everything before this offset
        self.has_ended = False

    def take(self, offset: int, data: bytes) -> bytes:
        """The part of `data` that is new.

        Raises ProtocolError for a gap, for data behind the end, and for more than a window undelivered.
        """
        behind = offset + len(data)
        if offset > self.received:
            raise ProtocolError(f"a tunnel goes on at byte {offset} instead of {self.received}")
        if self.has_ended and behind >= self.received:
            raise ProtocolError("a tunnel goes on behind its end")
        if behind <= self.received:
            return b""
        if behind - self.delivered > WINDOW_BYTES:
            raise ProtocolError(f"a tunnel's peer sends more than {WINDOW_BYTES} bytes unacknowledged")
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

    With data they travel after 16 KiB, alone after 64 KiB and after the end. The owner asks for those of less
    (`acknowledge_with_data`, `acknowledge_soon`).
    """

    def __init__(self) -> None:
        self.sending = Sending()
        self.receiving = Receiving()
        self._acknowledged = 0  # of what was delivered, as the other end was told
        self._is_due = False
        self._is_due_with_data = False

    @property
    def owes_acknowledgement(self) -> bool:
        """True if the other end hasn't been told all that was delivered."""
        return self._acknowledged != self.receiving.delivered

    @property
    def has_ended(self) -> bool:
        """True if both directions have ended, though the other end may not know that yet."""
        return self.sending.has_ended and self.receiving.has_ended

    @property
    def is_finished(self) -> bool:
        """True if both ends have everything and know that of each other."""
        receiving = self.receiving
        return self.sending.is_delivered and receiving.has_ended and self._acknowledged == receiving.received

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

    def acknowledge_with_data(self) -> bool:
        """Acknowledge with the next data. False if that has been asked for already, and none have come."""
        was_asked, self._is_due_with_data = self._is_due_with_data, True
        return not was_asked

    def deliver(self) -> None:
        """The local connection has taken what was received."""
        receiving = self.receiving
        receiving.delivered = receiving.received
        if receiving.has_ended or receiving.delivered - self._acknowledged >= ACKNOWLEDGE_BYTES:
            self._is_due = True

    def next_bytes(self, position: int) -> tuple[bytes, int]:
        """What to write next on a stream that has all before `position`, and the position behind it."""
        message, behind = self.sending.message(position)
        owed = self.receiving.delivered - self._acknowledged
        if self._is_due or (message and owed and (self._is_due_with_data or owed >= _WITH_DATA_BYTES)):
            self._is_due = self._is_due_with_data = False
            self._acknowledged = self.receiving.delivered
            message = encode(Kind.ACK, self._acknowledged) + message
        return message, behind

    @property
    def is_due(self) -> bool:
        """True if an acknowledgement is due even without data."""
        return self._is_due

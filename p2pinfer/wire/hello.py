"""The first frame of a lane."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from p2pinfer.errors import ProtocolError
from p2pinfer.types import SESSION_ID_BYTES
from p2pinfer.wire.opening import KEY_BYTES

HELLO_BYTES = 1 + SESSION_ID_BYTES + KEY_BYTES


class Role(IntEnum):
    """The purpose of a lane, from the dialling side."""

    STEPS = 1  # frames go to the server
    RESULTS = 2  # frames come from the server


@dataclass(frozen=True, slots=True)
class Hello:
    """What the first frame of a lane says: which session it belongs to, and that the sender may use it."""

    role: Role
    session_id: bytes
    key: bytes

    def pack(self) -> bytes:
        """The frame: role u8, session id 16 bytes, key 32 bytes."""
        return bytes([self.role]) + self.session_id + self.key

    @classmethod
    def read(cls, frame: bytes) -> Hello:
        """Read a frame. Raises ProtocolError if it isn't a hello."""
        if len(frame) != HELLO_BYTES or frame[0] not in Role.__members__.values():
            raise ProtocolError("a lane begins with its hello")
        return cls(Role(frame[0]), frame[1 : 1 + SESSION_ID_BYTES], frame[1 + SESSION_ID_BYTES :])

"""What a stream wants done: plain data. `StreamDriver` carries it out, in order.

`LaneT` is whatever stands for a lane: the stream compares lanes and never uses them. No action is ever
changed. `RunStep` and `Send` are made for every token and for that reason not frozen: a frozen `Send` takes
1.6 us to make, this one 0.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.receipts import Work
from p2pinfer.wire.status import Refused
from p2pinfer.wire.steps import Step

LaneT = TypeVar("LaneT")


@dataclass(slots=True)
class RunStep:
    """Compute this step, and report it by `computed` or `failed`."""

    step: Step


@dataclass(slots=True)
class Send(Generic[LaneT]):
    """Write a frame to a lane, after the hello if there is one.

    Report it by `outputs_taken`, `outputs_partly_taken` or `outputs_lost`.
    """

    lane: LaneT
    frame: bytes
    hello: bytes | None = None


@dataclass(frozen=True, slots=True)
class WriteRest(Generic[LaneT]):
    """Let the event loop write the rest of a frame. It reports `outputs_taken` or `outputs_lost`."""

    lane: LaneT


@dataclass(frozen=True, slots=True)
class CloseLane(Generic[LaneT]):
    """Close a lane. Closing twice is harmless."""

    lane: LaneT


@dataclass(frozen=True, slots=True)
class AbandonLane(Generic[LaneT]):
    """Let the event loop close a lane: it is still writing to it."""

    lane: LaneT


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell the client something."""

    frame: pb.ServerFrame


@dataclass(frozen=True, slots=True)
class AskForReceipt:
    """Ask the client to sign for all that was done."""

    done: Work


@dataclass(frozen=True, slots=True)
class WaitForReceipt:
    """Ask for a receipt, and report `receipt_overdue(signed)` if none has come in time."""

    done: Work
    signed: Work


@dataclass(frozen=True, slots=True)
class WaitForTurn:
    """Ask for a receipt of what was done, and report `turn_came` after so many seconds if none has come."""

    done: Work
    seconds: float


@dataclass(frozen=True, slots=True)
class AskForRoom:
    """Ask for cache, in tokens of all rows together, and report `room_came`, if there is any."""

    tokens: int


@dataclass(frozen=True, slots=True)
class End:
    """End the session for this reason."""

    refused: Refused


@dataclass(frozen=True, slots=True)
class ReadOn:
    """Read the lanes that bring steps: the next step can begin. Always the last action."""


@dataclass(frozen=True, slots=True)
class FreeCaches:
    """Drop the session's step if one waits, and give its caches back."""


READ_ON = ReadOn()
FREE_CACHES = FreeCaches()

Action: TypeAlias = (
    RunStep
    | Send[LaneT]
    | WriteRest[LaneT]
    | CloseLane[LaneT]
    | AbandonLane[LaneT]
    | Tell
    | AskForReceipt
    | WaitForReceipt
    | WaitForTurn
    | AskForRoom
    | End
    | ReadOn
    | FreeCaches
)
Actions: TypeAlias = Sequence[Action[LaneT]]

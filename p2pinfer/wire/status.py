"""Refusals: why a server says no. Each travels as a gRPC status, a word, a sentence and a time to wait."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import grpc

from p2pinfer.errors import ProtocolError
from p2pinfer.plain_text import foreign

REASON_KEY = "p2pinfer-reason"
RETRY_KEY = "p2pinfer-retry-after-seconds"


class Reason(StrEnum):
    """One word for each kind of refusal; docs/protocol.md says what a client does about each."""

    CACHE_FULL = "cache-full"
    BUSY = "busy"
    DRAINING = "draining"
    WRONG_MODEL = "wrong-model"
    WRONG_NUMERICS = "wrong-numerics"
    WRONG_LAYERS = "wrong-layers"
    WRONG_SERVER = "wrong-server"
    TOO_LONG = "too-long"
    BAD_OPENING = "bad-opening"
    NEXT_HOP_UNREACHABLE = "next-hop-unreachable"
    UNKNOWN_SESSION = "unknown-session"
    BAD_STEP = "bad-step"
    UNSIGNED = "unsigned"
    BAD_RECEIPT = "bad-receipt"
    IDLE = "idle"
    LEAVING = "leaving"
    FAILED = "failed"
    NOT_HELD = "not-held"
    NOT_SHARING = "not-sharing"


_STATUS = {
    Reason.BUSY: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.CACHE_FULL: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.DRAINING: grpc.StatusCode.UNAVAILABLE,
    Reason.WRONG_MODEL: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.WRONG_NUMERICS: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.WRONG_LAYERS: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.WRONG_SERVER: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.TOO_LONG: grpc.StatusCode.OUT_OF_RANGE,
    Reason.BAD_OPENING: grpc.StatusCode.UNAUTHENTICATED,
    Reason.NEXT_HOP_UNREACHABLE: grpc.StatusCode.UNAVAILABLE,
    Reason.UNKNOWN_SESSION: grpc.StatusCode.PERMISSION_DENIED,
    Reason.BAD_STEP: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.UNSIGNED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.BAD_RECEIPT: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.IDLE: grpc.StatusCode.DEADLINE_EXCEEDED,
    Reason.LEAVING: grpc.StatusCode.UNAVAILABLE,
    Reason.FAILED: grpc.StatusCode.INTERNAL,
    Reason.NOT_HELD: grpc.StatusCode.NOT_FOUND,
    Reason.NOT_SHARING: grpc.StatusCode.RESOURCE_EXHAUSTED,
}


@dataclass(eq=False)
class Refused(Exception):  # noqa: N818  read it where it is raised
    """Raised inside a handler: it ends the call with a reason that the peer can act on.

    Its sentence may quote the peer, or be one: it becomes one line of at most 300 printable characters.
    """

    reason: Reason
    detail: str
    retry_after_seconds: float = 0.0

    def __post_init__(self) -> None:
        self.detail = foreign(self.detail)

    def __str__(self) -> str:
        return self.detail


@asynccontextmanager
async def errors_as_status(context: Any) -> AsyncIterator[None]:
    """Answer the peer with the status for a Refused, or for a ProtocolError that the peer caused."""
    try:
        yield
    except (Refused, ProtocolError) as error:
        await _abort(context, as_refused(error))


def as_refused(error: Refused | ProtocolError) -> Refused:
    """The refusal that answers a peer's mistake."""
    return error if isinstance(error, Refused) else Refused(Reason.BAD_STEP, str(error))


async def _abort(context: Any, refused: Refused) -> None:
    trailing = [(REASON_KEY, refused.reason.value)]
    if refused.retry_after_seconds > 0:
        trailing.append((RETRY_KEY, f"{refused.retry_after_seconds:.3f}"))
    await context.abort(_STATUS[refused.reason], refused.detail, tuple(trailing))


def refusal_of(error: grpc.aio.AioRpcError) -> Refused | None:
    """The refusal that a server put into a failed call; None if the server didn't refuse it."""
    metadata = dict(error.trailing_metadata() or ())
    word = metadata.get(REASON_KEY)
    if word not in Reason.__members__.values():
        return None
    return Refused(Reason(str(word)), error.details() or "", _seconds(metadata.get(RETRY_KEY)))


def words_of(error: grpc.aio.AioRpcError) -> str:
    """What a failed call says, made printable. The error itself has it as the peer wrote it: it is never the
    cause of another error, whose traceback would show it."""
    return f"{error.code().name.lower()}: {foreign(error.details() or 'the stream ended')}"


def _seconds(text: str | bytes | None) -> float:
    try:
        seconds = float(text or 0)
    except ValueError:
        return 0.0
    return min(max(seconds, 0.0), 60.0) if seconds == seconds else 0.0

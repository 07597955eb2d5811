"""Whether a server may take a receipt: decided from its work and from the receipts before it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from p2pinfer.types import PeerId, SessionId, Span
from p2pinfer.wire.receipts import VALID_SECONDS, Receipt, Work

LEAST_VALID_SECONDS = 30 * 86_400.0
"""How long a receipt must still be valid when it is taken: owners don't redeem every day."""

MOST_OFF_SECONDS = 600.0
"""How far a client's clock may be off. A sponsor pays the rate of the time that a receipt names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What every receipt of one session must name."""

    server: PeerId
    client: bytes  # public key, libp2p encoding
    session_id: SessionId
    model: str  # manifest hash
    layers: Span


def rejection(
    receipt: Receipt, *, expected: Expected, last: Receipt | None, done: Work, now: float
) -> str | None:
    """Why a server must not take this receipt, in words for people; None if it may.

    `last` is the last receipt of this session that was taken, `done` the work of the session until now, and
    `now` is in Unix seconds. The client's signature was checked when the receipt was read.
    """
    return (
        _foreign(receipt, expected)
        or (first_misstep(receipt) if last is None else misstep(receipt, last.sequence, last.work))
        or _untrue(receipt, done)
        or _untimely(receipt, now)
    )


def first_misstep(receipt: Receipt) -> str | None:
    """What is wrong with a receipt that is the first one of its session; None if nothing is."""
    return misstep(receipt, 0, Work())


def misstep(receipt: Receipt, sequence: int, work: Work) -> str | None:
    """What is wrong with a receipt that follows one with this number and work in its session."""
    if receipt.sequence <= sequence:
        return f"it is number {receipt.sequence}, but number {sequence} is here already"
    if not work.within(receipt.work):
        return "it is for less work than the one before it"
    if receipt.work == work:
        return "it adds no work"
    return None


def misdating(receipt: Receipt, now: float) -> str | None:
    """What is impossible in the times of a receipt, whoever signed it; None if nothing is.

    A receipt of 1970 or of a far future would choose the rate that it is paid by.
    """
    if receipt.issued_at > now + MOST_OFF_SECONDS:
        return "it says that it was issued in the future: one of the two clocks is wrong"
    if receipt.expires_at - receipt.issued_at > VALID_SECONDS + MOST_OFF_SECONDS:
        return f"it would be valid for longer than {VALID_SECONDS / 86_400:.0f} days"
    return None


def _foreign(receipt: Receipt, expected: Expected) -> str | None:
    if receipt.server != expected.server:
        return "it is for another server"
    if receipt.client != expected.client:
        return "it is from another client"
    if receipt.session_id != expected.session_id:
        return "it is for another session"
    if receipt.model != expected.model:
        return "it is for another model"
    if receipt.layers != expected.layers:
        return f"it is for layers {receipt.layers}, but this session's are {expected.layers}"
    return None


def _untrue(receipt: Receipt, done: Work) -> str | None:
    return None if receipt.work.within(done) else "it is for more work than was done"


def _untimely(receipt: Receipt, now: float) -> str | None:
    if receipt.expires_at <= now:
        return "it has expired"
    if receipt.expires_at - now < LEAST_VALID_SECONDS:
        return f"it expires in less than {LEAST_VALID_SECONDS / 86_400:.0f} days"
    if receipt.issued_at < now - MOST_OFF_SECONDS:
        return "it says that it was issued long ago: one of the two clocks is wrong"
    return misdating(receipt, now)

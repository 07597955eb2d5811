"""The sponsor's side: which receipts of a bundle to pay, how much, and why not the others. Pure.

Receipts count from the start of their session, so only the work since the last payment is paid. `redeemed.py`
keeps payments on the disk, before they are reported.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum

from p2pinfer.errors import InvalidReceiptError
from p2pinfer.identity import peer_id_of
from p2pinfer.owner.ledger.acceptance import misdating
from p2pinfer.owner.statement.bundle import BundleLine
from p2pinfer.owner.statement.rates import Rate, rate_of
from p2pinfer.plain_text import day_of
from p2pinfer.types import Span
from p2pinfer.wire.receipt_pb2 import SignedReceipt
from p2pinfer.wire.receipts import Receipt, Work, is_countersigned, read_receipt


class ClaimVerdict(StrEnum):
    """The verdict on a line. All but VALID are reasons not to pay."""

    VALID = "valid"
    MALFORMED = "malformed"
    ALTERED = "altered"
    NOT_SIGNED_BY_YOU = "not signed by you"
    NOT_COUNTERSIGNED = "not countersigned"
    EXPIRED = "expired"
    MISDATED = "misdated"
    NO_RATE = "no rate"
    ALREADY_REDEEMED = "already redeemed"
    OVERLAPS = "overlaps"


@dataclass(frozen=True, slots=True, kw_only=True)
class Paid:
    """The newest paid receipt of a session at a server."""

    client: bytes
    model: str
    layers: Span
    work: Work
    sequence: int
    redeemed_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One line of a bundle, and the verdict on it."""

    line: int
    verdict: ClaimVerdict
    words: str = ""  # more about the verdict, for people
    signed: SignedReceipt | None = None  # if it may be paid
    receipt: Receipt | None = None
    rate: Rate | None = None
    added: Work = field(default_factory=Work)

    @property
    def prefill_layer_tokens(self) -> int:
        """Prefill work to pay, in tokens times layers."""
        return self.added.prefill_tokens * len(self.receipt.layers) if self.receipt else 0

    @property
    def decode_layer_tokens(self) -> int:
        """Decode work to pay, in tokens times layers."""
        return self.added.decode_tokens * len(self.receipt.layers) if self.receipt else 0

    @property
    def amount(self) -> Decimal | None:
        """The amount to pay, in the rate's currency; None if there are no rates at all."""
        if self.rate is None:
            return None
        return self.rate.credit(self.prefill_layer_tokens, self.decode_layer_tokens)


def examine(line: BundleLine, *, clients: Collection[bytes], rates: Sequence[Rate], now: float) -> Claim:
    """The verdict on a line without knowledge of earlier payments: VALID if nothing is wrong so far.

    `clients` are the sponsor's public keys. Without any `rates` work is only counted; otherwise a receipt
    without a rate can be redeemed later.
    """
    if line.signed is None:
        return Claim(line=line.number, verdict=ClaimVerdict.MALFORMED, words=line.problem)
    try:
        receipt = read_receipt(line.signed)
    except InvalidReceiptError as error:
        return Claim(line=line.number, verdict=ClaimVerdict.ALTERED, words=str(error))
    rate = rate_of(rates, peer_id_of(receipt.client), receipt.issued_at)
    verdict, words = ClaimVerdict.VALID, ""
    if not receipt.work.tokens:
        verdict, words = ClaimVerdict.MALFORMED, "it is for no work"
    elif receipt.client not in clients:
        verdict, words = ClaimVerdict.NOT_SIGNED_BY_YOU, f"but by {peer_id_of(receipt.client)}"
    elif not is_countersigned(line.signed, receipt.server):
        verdict, words = ClaimVerdict.NOT_COUNTERSIGNED, "by the server that it names"
    elif receipt.expires_at <= now:
        verdict, words = ClaimVerdict.EXPIRED, f"on {day_of(receipt.expires_at)}"
    elif misdated := misdating(receipt, now):
        verdict, words = ClaimVerdict.MISDATED, f"{misdated}; it names {day_of(receipt.issued_at)}"
    elif rates and rate is None:
        verdict = ClaimVerdict.NO_RATE
        words = f"for {day_of(receipt.issued_at)}; redeem it again when there is one"
    if verdict is not ClaimVerdict.VALID:
        return Claim(line=line.number, verdict=verdict, words=words)
    return Claim(line=line.number, verdict=verdict, signed=line.signed, receipt=receipt, rate=rate)


def settle(claim: Claim, paid: Paid | None) -> Claim:
    """The claim after a look at what was paid for its session: with the work that it adds, or refused."""
    receipt = claim.receipt
    if claim.verdict is not ClaimVerdict.VALID or receipt is None:
        return claim
    if paid is None:
        return replace(claim, added=receipt.work)
    if (paid.client, paid.model, paid.layers) != (receipt.client, receipt.model, receipt.layers):
        words = "a receipt of the same session with another client, model or layers was paid"
        return Claim(line=claim.line, verdict=ClaimVerdict.OVERLAPS, words=words)
    is_later = receipt.sequence > paid.sequence
    if receipt.work == paid.work or (not is_later and receipt.work.within(paid.work)):
        words = f"on {day_of(paid.redeemed_at)}"
        return Claim(line=claim.line, verdict=ClaimVerdict.ALREADY_REDEEMED, words=words)
    if not is_later or not paid.work.within(receipt.work):
        words = "a receipt of the same session was paid that contradicts this one"
        return Claim(line=claim.line, verdict=ClaimVerdict.OVERLAPS, words=words)
    return replace(claim, added=receipt.work - paid.work)


def in_batches(lines: Iterable[BundleLine], size: int) -> Iterator[list[BundleLine]]:
    """The lines in batches of `size`: each batch is one write to the disk."""
    batch: list[BundleLine] = []
    for line in lines:
        batch.append(line)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch

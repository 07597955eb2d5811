"""Which receipts of a bundle a sponsor pays, how much, and why not the others."""

from __future__ import annotations

from typing import Any

import pytest

from p2pinfer.owner.ledger.acceptance import MOST_OFF_SECONDS
from p2pinfer.owner.statement.rates import Rate, parse_rates
from p2pinfer.owner.statement.redemption import Claim, ClaimVerdict, Paid, examine, settle
from p2pinfer.types import Span
from p2pinfer.wire.receipt_pb2 import SignedReceipt
from p2pinfer.wire.receipts import VALID_SECONDS, Work, sign_receipt
from tests.owner.signing import CLIENT, NOW, STRANGER, receipt, signed
from tests.owner.statement.bundles import MINE, RATES, line
from tests.owner.statement.months import RATES_TEXT

STRANGERS_RATES = parse_rates(RATES_TEXT.replace(CLIENT.peer_id, STRANGER.peer_id), "rates.toml")


def verdict_on(given_in: SignedReceipt, paid: Paid | None = None, **changes: Any) -> Claim:
    """What CLIENT's owner says at NOW."""
    claim = examine(line(given_in), **({"clients": MINE, "rates": RATES, "now": NOW} | changes))
    return settle(claim, paid)


def test_a_receipt_is_worth_what_it_adds():
    """To what was paid for its session before, at the rate of the day it was signed."""
    paid = Paid(
        client=CLIENT.public_key,
        model="a" * 64,
        layers=Span(10, 20),
        work=Work(60_000, 20_000),
        sequence=1,
        redeemed_at=NOW,
    )
    first = verdict_on(signed(receipt(100_000, 50_000)))
    more = verdict_on(signed(receipt(100_000, 50_000, sequence=2)), paid)

    assert (first.verdict, first.prefill_layer_tokens, first.decode_layer_tokens) == ("valid", 10**6, 500_000)
    assert f"{first.amount:f}" == "1.1"
    assert (more.verdict, more.added) == ("valid", Work(40_000, 30_000))
    assert f"{more.amount:.3f}" == "0.640"


def test_every_receipt_that_isnt_paid_hears_why():
    """One for each reason."""
    altered = SignedReceipt.FromString(signed(receipt()).SerializeToString())
    altered.client_signature = bytes(64)
    verdicts = {
        ClaimVerdict.ALTERED: signed(receipt(), client=STRANGER),
        ClaimVerdict.NOT_SIGNED_BY_YOU: signed(receipt(client=STRANGER.public_key), client=STRANGER),
        ClaimVerdict.NOT_COUNTERSIGNED: signed(receipt(), server=STRANGER),
        ClaimVerdict.EXPIRED: signed(receipt(expires_at=NOW)),
        ClaimVerdict.MISDATED: signed(receipt(issued_at=0.0, expires_at=NOW + 1)),
        ClaimVerdict.MALFORMED: signed(receipt(0, 0)),
    }

    for verdict, wrong in verdicts.items():
        claim = verdict_on(wrong)
        assert claim.verdict is verdict and claim.words and claim.amount is None
    unrated = verdict_on(signed(receipt()), rates=STRANGERS_RATES)
    assert unrated.verdict is ClaimVerdict.NO_RATE and unrated.words
    assert verdict_on(altered).verdict is ClaimVerdict.ALTERED
    assert verdict_on(sign_receipt(receipt(), CLIENT)).verdict is ClaimVerdict.NOT_COUNTERSIGNED
    assert verdict_on(signed(receipt(server="nobody"))).verdict is ClaimVerdict.NOT_COUNTERSIGNED
    assert examine(line(None), clients=MINE, rates=(), now=NOW).verdict is ClaimVerdict.MALFORMED


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"sequence": 5, "work": Work(10, 10)}, ClaimVerdict.ALREADY_REDEEMED),
        ({"sequence": 9, "work": Work(10, 10)}, ClaimVerdict.ALREADY_REDEEMED),
        ({"sequence": 3, "work": Work(5, 10)}, ClaimVerdict.ALREADY_REDEEMED),
        ({"sequence": 9, "work": Work(5, 10)}, ClaimVerdict.OVERLAPS),
        ({"sequence": 9, "work": Work(50, 9)}, ClaimVerdict.OVERLAPS),
        ({"sequence": 5, "work": Work(11, 10)}, ClaimVerdict.OVERLAPS),
        ({"sequence": 9, "work": Work(50, 50), "layers": Span(10, 21)}, ClaimVerdict.OVERLAPS),
        ({"sequence": 9, "work": Work(50, 50), "layers": Span(20, 30)}, ClaimVerdict.OVERLAPS),
        ({"sequence": 9, "work": Work(50, 50), "model": "b" * 64}, ClaimVerdict.OVERLAPS),
        ({"sequence": 6, "work": Work(10, 11)}, ClaimVerdict.VALID),
    ],
)
def test_what_was_paid_isnt_paid_again(changes: dict[str, Any], verdict: ClaimVerdict):
    """After number 5, for (10, 10)."""
    paid = Paid(
        client=CLIENT.public_key,
        model="a" * 64,
        layers=Span(10, 20),
        work=Work(10, 10),
        sequence=5,
        redeemed_at=NOW,
    )
    claim = verdict_on(signed(receipt(**changes)), paid)

    assert claim.verdict is verdict
    assert claim.added == (Work(0, 1) if verdict is ClaimVerdict.VALID else Work())


def test_without_any_rates_work_is_counted():
    """It has no price then."""
    claim = verdict_on(signed(receipt()), rates=())

    assert (claim.verdict, claim.prefill_layer_tokens, claim.amount) == (ClaimVerdict.VALID, 100, None)


@pytest.mark.parametrize("rates", [(), RATES])
@pytest.mark.parametrize(
    ("issued_at", "expires_at", "words"),
    [
        (0.0, NOW + 1, "valid for longer than 90 days; it names 1970-01-01"),
        (-1e300, 1e300, "valid for longer than 90 days"),
        (NOW - VALID_SECONDS, NOW + 86_400, "valid for longer than 90 days"),
        (NOW, 1e300, "valid for longer than 90 days"),
        (1e300, 1e301, "in the future"),
        (NOW + MOST_OFF_SECONDS + 1, NOW + VALID_SECONDS, "in the future"),
    ],
)
def test_a_receipt_with_impossible_times_is_not_paid(
    issued_at: float, expires_at: float, words: str, rates: tuple[Rate, ...]
):
    """Its time chooses the rate. With or without rates."""
    claim = verdict_on(signed(receipt(issued_at=issued_at, expires_at=expires_at)), rates=rates)

    assert claim.verdict is ClaimVerdict.MISDATED
    assert words in claim.words


@pytest.mark.parametrize("age_seconds", [-MOST_OFF_SECONDS, 0.0, VALID_SECONDS - 1])
def test_a_receipt_is_paid_until_it_expires_also_if_its_clock_is_a_little_ahead(age_seconds: float):
    assert verdict_on(signed(receipt(issued_at=NOW - age_seconds))).verdict is ClaimVerdict.VALID


def test_times_that_no_calendar_has_are_no_trouble():
    """A client may sign any number."""
    for at in (-1e300, 1e300, -1e18):
        claim = verdict_on(signed(receipt(issued_at=at, expires_at=min(at, 0.0))))
        assert claim.verdict is ClaimVerdict.EXPIRED and claim.words


def test_a_claim_that_was_turned_down_stays_so():
    """Whatever was paid."""
    claim = verdict_on(signed(receipt(), server=STRANGER))

    assert settle(claim, None) == claim

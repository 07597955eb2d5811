"""What is a proof, and what isn't, at any price."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from p2pinfer.errors import UsageError
from p2pinfer.identity import Identity
from p2pinfer.price import proof
from p2pinfer.price.proof import PROOF_BYTES, USUAL_BITS, is_paid, price_of, zero_bits

KEY = bytes.fromhex("08011220") + bytes(range(32))
WORTH_6_BITS = bytes.fromhex("0000000000000056")


@pytest.fixture
def six_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "PRICE_BITS", 6)


def test_the_hash_of_a_key_and_a_nonce_never_changes() -> None:
    """Otherwise everybody would have to pay again."""
    assert zero_bits(KEY, WORTH_6_BITS) == 6


@pytest.mark.usefixtures("six_bits")
def test_a_proof_holds_for_its_key_alone() -> None:
    others = [Identity.ephemeral().public_key for _ in range(4)]

    assert is_paid(KEY, WORTH_6_BITS)
    assert not all(is_paid(other, WORTH_6_BITS) for other in others)


@pytest.mark.usefixtures("six_bits")
@pytest.mark.parametrize(
    "wrong",
    [b"", WORTH_6_BITS[1:], WORTH_6_BITS + b"\0", bytes(PROOF_BYTES)],
    ids=["none", "too-short", "too-long", "unworthy"],
)
def test_what_is_no_proof_is_refused(wrong: bytes) -> None:
    assert not is_paid(KEY, wrong)


def test_a_proof_of_a_low_price_is_none_of_a_higher_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also right after it was believed at the low one."""
    for bits, believed in ((5, True), (6, True), (7, False), (USUAL_BITS, False)):
        monkeypatch.setattr(proof, "PRICE_BITS", bits)
        assert is_paid(KEY, WORTH_6_BITS) is believed


def test_where_identities_are_free_a_proof_is_eight_bytes_and_nothing_is_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(proof, "zero_bits", None)

    assert is_paid(KEY, Identity.ephemeral().proof)
    assert not is_paid(KEY, b"")


@pytest.mark.usefixtures("six_bits")
def test_what_was_checked_once_costs_nothing_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Right and wrong: records come again and again."""
    wrong = bytes(PROOF_BYTES)
    known = [is_paid(KEY, WORTH_6_BITS), is_paid(KEY, wrong)]
    monkeypatch.setattr(proof, "zero_bits", None)

    assert [is_paid(KEY, WORTH_6_BITS), is_paid(KEY, wrong)] == known == [True, False]


def test_a_check_takes_about_a_millisecond() -> None:
    """The quickest of twenty, so that a busy machine doesn't count: 1 ms where this was written."""
    seconds = []
    for nonce in range(20):
        began = time.thread_time()
        zero_bits(KEY, nonce.to_bytes(PROOF_BYTES, "big"))
        seconds.append(time.thread_time() - began)

    assert min(seconds) < 0.02


@pytest.mark.parametrize(
    "variable", ["", "-1", "33", "1.5", "twelve", "\u0663", "9" * 5000], ids=lambda value: ascii(value[:4])
)
def test_a_price_that_is_no_number_of_bits_is_refused_by_name(variable: str) -> None:
    with pytest.raises(UsageError, match="P2PINFER_PRICE_BITS is a number of bits from 0 to 32"):
        price_of(variable)


def test_without_the_variable_the_price_is_the_usual_one() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "P2PINFER_PRICE_BITS"}
    program = "from p2pinfer.identity import Identity; from p2pinfer.price.proof import PRICE_BITS;"
    program += "print(PRICE_BITS, Identity.ephemeral().proof)"
    command = [sys.executable, "-c", program]

    assert subprocess.run(command, env=environment, capture_output=True, check=True).stdout == b"12 b''\n"

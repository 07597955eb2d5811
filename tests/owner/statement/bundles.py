"""Bundles of receipts, and what is said about their lines."""

from __future__ import annotations

import io
from collections.abc import Iterable

from p2pinfer.owner.statement.bundle import BundleLine, write_bundle
from p2pinfer.owner.statement.rates import parse_rates
from p2pinfer.wire.receipt_pb2 import SignedReceipt
from tests.owner.signing import CLIENT
from tests.owner.statement.months import RATES_TEXT

RATES = parse_rates(RATES_TEXT, "rates.toml")
MINE = frozenset({CLIENT.public_key})


def line(receipt: SignedReceipt | None, number: int = 2) -> BundleLine:
    return BundleLine(number=number, signed=receipt, problem="" if receipt else "it is wrong")


def bundle_of(receipts: Iterable[SignedReceipt]) -> bytes:
    file = io.StringIO()
    write_bundle(file, receipts)
    return file.getvalue().encode()

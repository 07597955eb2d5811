"""What a sponsor has paid is remembered, and paid once."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from p2pinfer.owner.statement.redeemed import Redeemed
from p2pinfer.owner.statement.redemption import ClaimVerdict, examine
from p2pinfer.types import SessionId
from p2pinfer.wire.receipt_pb2 import SignedReceipt
from p2pinfer.wire.receipts import Work
from tests.owner.signing import NOW, chain, receipt, signed
from tests.owner.statement.bundles import MINE, RATES, line

steps = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=5)


@settings(max_examples=25)
@given(st.lists(steps, min_size=1, max_size=3), st.data())
def test_each_layer_token_is_paid_exactly_once(sessions: list[list[tuple[int, int]]], data: st.DataObject):
    """In whatever order receipts come, in how many bundles, and how often."""
    receipts: list[SignedReceipt] = []
    owed = Work()
    for number, added in enumerate(sessions):
        work = Work()
        for sequence, (prefill, decode) in enumerate(added, start=1):
            work += Work(prefill, decode + 1)
            fields = {"session_id": SessionId(bytes([number] * 16)), "sequence": sequence, "work": work}
            receipts.append(signed(receipt(**fields)))
        owed += work
    offers = data.draw(st.lists(st.sampled_from(receipts), max_size=8))
    every = data.draw(st.permutations(receipts))
    cut = data.draw(st.integers(0, len(every)))

    paid = Work()
    with Redeemed.rehearse(Path("there is no such file")) as redeemed:
        for part in (offers, every[:cut], every[cut:], every):
            examined = [
                examine(line(one, number), clients=MINE, rates=(), now=NOW) for number, one in enumerate(part)
            ]
            for claim in redeemed.pay(examined, now=NOW):
                assert claim.verdict in (ClaimVerdict.VALID, ClaimVerdict.ALREADY_REDEEMED)
                paid += claim.added
    assert paid == owed


def test_what_was_paid_is_there_after_opening_again(tmp_path: Path):
    """A rehearsal knows of it, and leaves no trace."""
    path = tmp_path / "redeemed.sqlite"
    first, second = (
        [examine(line(one), clients=MINE, rates=RATES, now=NOW)] for one in chain(Work(1, 1), Work(2, 2))
    )
    with Redeemed.open(path) as redeemed:
        assert redeemed.pay(first, now=NOW)[0].verdict is ClaimVerdict.VALID
    for _ in range(2):
        with Redeemed.rehearse(path) as rehearsed:
            assert rehearsed.pay(first, now=NOW)[0].verdict is ClaimVerdict.ALREADY_REDEEMED
            [claim] = rehearsed.pay(second, now=NOW)
            assert (claim.verdict, claim.added) == (ClaimVerdict.VALID, Work(1, 1))
    with Redeemed.open(path) as redeemed:
        assert redeemed.pay(second, now=NOW)[0].added == Work(1, 1)

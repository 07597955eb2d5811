"""The sponsor's side: what is paid, what isn't, and that the same is paid once."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pinfer.errors import UsageError
from p2pinfer.identity import Identity
from p2pinfer.owner.__main__ import main
from p2pinfer.owner.files import OwnerFiles
from p2pinfer.owner.ledger.ledger import Ledger
from p2pinfer.owner.statement import bundle
from p2pinfer.owner.statement.bundle import HEADER, BundleLine, read_bundle, write_bundle
from p2pinfer.owner.statement.rates import parse_rates
from p2pinfer.owner.statement.redeemed import Redeemed
from p2pinfer.owner.statement.redemption import Claim, Paid, Verdict, examine, settle
from p2pinfer.types import SessionId, Span
from p2pinfer.wire.receipt_pb2 import SignedReceipt
from p2pinfer.wire.receipts import Work, sign_receipt
from tests.owner.signing import CLIENT, NOW, SERVER, SESSION, STRANGER, chain, receipt, signed
from tests.owner.statement.test_statement import RATES_TEXT

ROOT = Path(__file__).parents[3]
RATES = parse_rates(RATES_TEXT, "rates.toml")
MINE = frozenset({CLIENT.public_key})
TODAY = time.time()


def line(receipt: SignedReceipt | None, number: int = 2) -> BundleLine:
    return BundleLine(number=number, signed=receipt, problem="" if receipt else "it is wrong")


def verdict_on(given_in: SignedReceipt, paid: Paid | None = None, **changes: Any) -> Claim:
    """What CLIENT's owner says at NOW."""
    claim = examine(line(given_in), **({"clients": MINE, "rates": RATES, "now": NOW} | changes))
    return settle(claim, paid)


def bundle_of(receipts: Iterable[SignedReceipt]) -> bytes:
    file = io.StringIO()
    write_bundle(file, receipts)
    return file.getvalue().encode()


# Verdicts


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
        Verdict.ALTERED: signed(receipt(), client=STRANGER),
        Verdict.NOT_SIGNED_BY_YOU: signed(receipt(client=STRANGER.public_key), client=STRANGER),
        Verdict.NOT_COUNTERSIGNED: signed(receipt(), server=STRANGER),
        Verdict.EXPIRED: signed(receipt(expires_at=NOW)),
        Verdict.NO_RATE: signed(receipt(issued_at=0.0, expires_at=NOW + 1)),
        Verdict.MALFORMED: signed(receipt(0, 0)),
    }

    for verdict, wrong in verdicts.items():
        claim = verdict_on(wrong)
        assert claim.verdict is verdict and claim.words and claim.amount is None
    assert verdict_on(altered).verdict is Verdict.ALTERED
    assert verdict_on(sign_receipt(receipt(), CLIENT)).verdict is Verdict.NOT_COUNTERSIGNED
    assert verdict_on(signed(receipt(server="nobody"))).verdict is Verdict.NOT_COUNTERSIGNED
    assert examine(line(None), clients=MINE, rates=(), now=NOW).verdict is Verdict.MALFORMED


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"sequence": 5, "work": Work(10, 10)}, Verdict.ALREADY_REDEEMED),
        ({"sequence": 9, "work": Work(10, 10)}, Verdict.ALREADY_REDEEMED),
        ({"sequence": 3, "work": Work(5, 10)}, Verdict.ALREADY_REDEEMED),
        ({"sequence": 9, "work": Work(5, 10)}, Verdict.OVERLAPS),
        ({"sequence": 9, "work": Work(50, 9)}, Verdict.OVERLAPS),
        ({"sequence": 5, "work": Work(11, 10)}, Verdict.OVERLAPS),
        ({"sequence": 9, "work": Work(50, 50), "layers": Span(10, 21)}, Verdict.OVERLAPS),
        ({"sequence": 9, "work": Work(50, 50), "layers": Span(20, 30)}, Verdict.OVERLAPS),
        ({"sequence": 9, "work": Work(50, 50), "model": "b" * 64}, Verdict.OVERLAPS),
        ({"sequence": 6, "work": Work(10, 11)}, Verdict.VALID),
    ],
)
def test_what_was_paid_isnt_paid_again(changes: dict[str, Any], verdict: Verdict):
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
    assert claim.added == (Work(0, 1) if verdict is Verdict.VALID else Work())


def test_without_any_rates_work_is_counted():
    """It has no price then."""
    claim = verdict_on(signed(receipt()), rates=())

    assert (claim.verdict, claim.prefill_layer_tokens, claim.amount) == (Verdict.VALID, 100, None)


def test_times_that_no_calendar_has_are_no_trouble():
    """A client may sign any number."""
    for at in (-1e300, 1e300, -1e18):
        claim = verdict_on(signed(receipt(issued_at=at, expires_at=min(at, 0.0))))
        assert claim.verdict is Verdict.EXPIRED and claim.words


# What was paid

steps = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=5)


@settings(max_examples=25, deadline=None)
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
                assert claim.verdict in (Verdict.VALID, Verdict.ALREADY_REDEEMED)
                paid += claim.added
    assert paid == owed


def test_what_was_paid_is_there_after_opening_again(tmp_path: Path):
    """A rehearsal knows of it, and leaves no trace."""
    path = tmp_path / "redeemed.sqlite"
    first, second = (
        [examine(line(one), clients=MINE, rates=RATES, now=NOW)] for one in chain(Work(1, 1), Work(2, 2))
    )
    with Redeemed.open(path) as redeemed:
        assert redeemed.pay(first, now=NOW)[0].verdict is Verdict.VALID
    for _ in range(2):
        with Redeemed.rehearse(path) as rehearsed:
            assert rehearsed.pay(first, now=NOW)[0].verdict is Verdict.ALREADY_REDEEMED
            [claim] = rehearsed.pay(second, now=NOW)
            assert (claim.verdict, claim.added) == (Verdict.VALID, Work(1, 1))
    with Redeemed.open(path) as redeemed:
        assert redeemed.pay(second, now=NOW)[0].added == Work(1, 1)


# Bundles


def test_a_bundle_is_read_as_it_was_written():
    """Empty lines, other keys and foreign line ends don't matter."""
    receipts = chain(Work(1, 0), Work(2, 0))
    data = bundle_of(receipts)
    loose = data.replace(b"\n", b"\r\n\r\n").replace(b'{"receipt"', b'{"note": [1], "receipt"').rstrip()

    assert [one.signed for one in read_bundle(io.BytesIO(data), "b")] == receipts
    assert [one.signed for one in read_bundle(io.BytesIO(loose), "b")] == receipts
    assert [one.number for one in read_bundle(io.BytesIO(loose), "b")] == [3, 5]


@pytest.mark.parametrize(
    "wrong",
    [
        b"receipt",
        b"[]",
        b"{}",
        b"null",
        b'{"receipt": 1, "client_signature": "", "server_signature": ""}',
        b'{"receipt": "a", "client_signature": "", "server_signature": ""}',
        b'{"receipt": "\xc3\xa4AAA", "client_signature": "", "server_signature": ""}',
        b'{"receipt": "AA!!AA==", "client_signature": "", "server_signature": ""}',
        b"\xff\xfe",
        b"[" * 15_000,
        b'{"a":' * 3_000,
        b"1" * 16_000,
        b"x" * 16_385,
        b"x" * 100_000,
        b"\x00\x1b[2J",
    ],
)
def test_a_wrong_line_is_skipped_and_named(wrong: bytes):
    """The next one is read."""
    [good] = chain(Work(1, 0))
    data = bundle_of([good]).replace(b"\n", b"\n" + wrong + b"\n", 1)

    first, second = read_bundle(io.BytesIO(data), "b")

    assert (first.number, first.signed) == (2, None) and first.problem.isprintable() and first.problem
    assert (second.number, second.signed) == (3, good)


@settings(max_examples=100)
@given(st.binary(max_size=400), st.booleans())
def test_no_bytes_can_break_the_reader(data: bytes, has_header: bool):
    """Whatever stands there, it says so or skips it."""
    file = io.BytesIO(HEADER.encode() + b"\n" + data if has_header else data)
    try:
        claims = [examine(one, clients=MINE, rates=(), now=NOW) for one in read_bundle(file, "b")]
    except UsageError:
        assert not has_header
        return
    assert {claim.verdict for claim in claims} <= {Verdict.MALFORMED, Verdict.ALTERED}


@settings(max_examples=60)
@given(st.data())
def test_no_altered_bundle_is_paid(data: st.DataObject):
    """One byte of a line is another one: at best it means the same."""
    text = bytearray(bundle_of(chain(Work(3, 3))))
    position = data.draw(st.integers(len(HEADER) + 1, len(text) - 2))
    text[position] = data.draw(st.integers(0, 255))

    for one in read_bundle(io.BytesIO(bytes(text)), "b"):
        claim = examine(one, clients=MINE, rates=(), now=NOW)
        assert claim.verdict is not Verdict.VALID or claim.receipt == receipt(3, 3)


class Endless(io.RawIOBase):
    """A line without an end."""

    def __init__(self) -> None:
        self.given_bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        header = f"{HEADER}\n".encode() if not self.given_bytes else b""
        buffer[:] = header + b"x" * (len(buffer) - len(header))
        self.given_bytes += len(buffer)
        return len(buffer)


def test_reading_has_an_end(monkeypatch: pytest.MonkeyPatch):
    """Of an endless line, and of too many lines."""
    monkeypatch.setattr(bundle, "MAX_BYTES", 2**20)
    monkeypatch.setattr(bundle, "MAX_LINES", 3)
    endless = Endless()
    with pytest.raises(UsageError, match="b has more than 1 MiB"):
        list(read_bundle(io.BufferedReader(endless), "b"))
    assert endless.given_bytes < 2**21

    three = bundle_of(chain(Work(1, 0), Work(2, 0), Work(3, 0)))
    assert len(list(read_bundle(io.BytesIO(three), "b"))) == 3
    with pytest.raises(UsageError, match="b has more than 3 lines"):
        list(read_bundle(io.BytesIO(three + b"\n"), "b"))


# The commands


@pytest.fixture
def owner(tmp_path: Path) -> OwnerFiles:
    """An owner with two sessions of CLIENT, the second signed for twice, and one of STRANGER."""
    files = OwnerFiles(tmp_path / "owner")
    other = SessionId(bytes(16))
    with Ledger.open(files.ledger) as ledger:
        taken = ledger.add_receipts(
            [
                *chain(Work(100_000, 50_000), issued_at=TODAY),
                *chain(Work(1000, 0), Work(1000, 2000), issued_at=TODAY, session_id=other),
                signed(
                    receipt(issued_at=TODAY, client=STRANGER.public_key, session_id=SessionId(b"s" * 16)),
                    client=STRANGER,
                ),
                signed(receipt(expires_at=TODAY - 1, session_id=SessionId(b"x" * 16))),
            ]
        )
        assert taken == [None] * 5
    return files


@pytest.fixture
def sponsor(tmp_path: Path) -> tuple[OwnerFiles, Path]:
    """CLIENT's owner, with rates and key file."""
    files = OwnerFiles(tmp_path / "sponsor")
    files.folder.mkdir()
    files.rates.write_text(RATES_TEXT)
    (files.folder / "key").write_bytes(CLIENT.to_bytes())
    return files, files.folder / "key"


def export(owner: OwnerFiles, out: Path, *flags: str) -> int:
    return main(["--data-folder", str(owner.folder), "export", "--out", str(out), *flags])


def redeem(sponsor: tuple[OwnerFiles, Path], out: Path, *flags: str) -> int:
    files, key = sponsor
    return main(["--data-folder", str(files.folder), "redeem", str(out), "--identity", str(key), *flags])


def test_what_an_owner_exports_a_sponsor_pays_once(
    owner: OwnerFiles, sponsor: tuple[OwnerFiles, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """A rehearsal first, then it counts, then it is over."""
    out = tmp_path / "bundle"
    assert export(owner, out, "--client", CLIENT.peer_id) == 0
    said = capsys.readouterr().out
    assert "2 sessions" in said and CLIENT.peer_id in said and "Left out: 1 that have expired" in said

    assert redeem(sponsor, out, "--dry-run") == 0
    assert "nothing was remembered" in capsys.readouterr().out
    assert not sponsor[0].redeemed.exists()

    assert redeem(sponsor, out) == 0
    said = capsys.readouterr().out
    assert "2 receipts: 2 valid" in said
    assert "1,000,000 prefill 500,000 decode, 1.100000 EUR" in said
    assert f"{SERVER.peer_id}   1.53M layer-tokens  1.141000 EUR" in said
    assert "can sign for his own" in said

    assert redeem(sponsor, out) == 1
    assert "2 receipts: 2 already redeemed" in capsys.readouterr().out


def test_a_sponsor_takes_only_what_he_has_signed(
    owner: OwnerFiles, sponsor: tuple[OwnerFiles, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """The rest of the bundle is paid; with both keys all of it is."""
    out = tmp_path / "bundle"
    assert export(owner, out) == 0
    assert "--client PEER_ID" in capsys.readouterr().out
    (tmp_path / "other").write_bytes(STRANGER.to_bytes())

    assert redeem(sponsor, out) == 1
    assert f"line 4: not signed by you (but by {STRANGER.peer_id})" in capsys.readouterr().out
    sponsor[0].rates.unlink()
    assert redeem(sponsor, out, "--identity", str(tmp_path / "other")) == 1
    said = capsys.readouterr().out
    assert "3 receipts: 2 already redeemed, 1 valid" in said and "without rates" in said


def test_programs_get_json(
    owner: OwnerFiles, sponsor: tuple[OwnerFiles, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """An object for every receipt, and the totals."""
    out = tmp_path / "bundle"
    export(owner, out)
    capsys.readouterr()

    assert redeem(sponsor, out, "--json") == 1
    first, _, third, totals = map(json.loads, capsys.readouterr().out.splitlines())

    assert first == {
        "line": 2,
        "verdict": "valid",
        "server": SERVER.peer_id,
        "session": SESSION.hex(),
        "prefill_layer_tokens": 1_000_000,
        "decode_layer_tokens": 500_000,
        "currency": "EUR",
        "amount": "1.1",
    }
    assert third["verdict"] == "not signed by you"
    assert totals == {
        "verdicts": {"valid": 2, "not signed by you": 1},
        "servers": {SERVER.peer_id: {"layer_tokens": 1_530_000, "amounts": {"EUR": "1.141"}}},
        "remembered": True,
    }


def test_a_bundle_cant_speak_to_the_terminal(
    sponsor: tuple[OwnerFiles, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Not even with what the sponsor's own client has signed."""
    evil = signed(receipt(model="\x1b[2J", server="\x1b[2J", issued_at=TODAY))
    out = tmp_path / "bundle"
    out.write_bytes(bundle_of([evil]) + b"\x1b[2J\n" + b'{"receipt": "\x1b"}\n')

    for flags in ([], ["--json"]):
        assert redeem(sponsor, out, *flags) == 1
        assert "\x1b" not in capsys.readouterr().out


def test_a_bundle_beyond_the_limits_pays_what_was_read(
    sponsor: tuple[OwnerFiles, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    """And says what it was, with the totals so far."""
    monkeypatch.setattr(bundle, "MAX_LINES", 500)
    out = tmp_path / "bundle"
    out.write_bytes(bundle_of(chain(Work(1, 0), Work(2, 0), issued_at=TODAY)) + b"?\n" * 600)

    assert redeem(sponsor, out) == 2
    output = capsys.readouterr()
    assert "500 receipts: 498 malformed, 2 valid" in output.out
    assert "has more than 500 lines" in output.err


def test_the_same_is_paid_once_by_two_at_the_same_time(sponsor: tuple[OwnerFiles, Path], tmp_path: Path):
    """Processes that redeem one bundle share what there is to pay."""
    out = tmp_path / "bundle"
    count = 1000
    out.write_bytes(
        bundle_of(
            signed(receipt(10, 5, session_id=SessionId(number.to_bytes(16, "big")), issued_at=TODAY))
            for number in range(count)
        )
    )
    files, key = sponsor
    command = [sys.executable, "-m", "p2pinfer.owner", "--data-folder", str(files.folder), "redeem", str(out)]
    processes = [
        subprocess.Popen([*command, "--identity", str(key), "--json"], cwd=ROOT, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    outputs = [process.communicate()[0] for process in processes]

    totals = [json.loads(output.splitlines()[-1]) for output in outputs]
    verdicts = [json.loads(text) for output in outputs for text in output.splitlines()[:-1]]
    paid = [said["session"] for said in verdicts if said["verdict"] == "valid"]
    assert len(paid) == len(set(paid)) == count
    assert sum(total["verdicts"].get("already redeemed", 0) for total in totals) == count


def test_what_cant_be_is_one_clear_line(
    owner: OwnerFiles, sponsor: tuple[OwnerFiles, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Files that are missing or wrong, and nothing is made of them."""
    files, key = sponsor
    (tmp_path / "text").write_text("hello\n")
    (tmp_path / "empty").write_text("")
    out = tmp_path / "bundle"
    wrong = [
        (["redeem", str(tmp_path / "text"), "--identity", str(key)], "is not a bundle of receipts"),
        (["redeem", str(tmp_path / "empty"), "--identity", str(key)], "is not a bundle of receipts"),
        (["redeem", str(tmp_path), "--identity", str(key)], "can't be read"),
        (["redeem", str(tmp_path / "no"), "--identity", str(key)], "can't be read"),
        (["redeem", str(out), "--identity", str(tmp_path / "no")], "give the key file of your client"),
        (["redeem", str(out), "--identity", str(key), "--rates", str(tmp_path / "no")], "rates file"),
        (["export", "--out", str(out)], "no ledger in"),
    ]
    for arguments, reason in wrong:
        assert main(["--data-folder", str(files.folder), *arguments]) == 2
        output = capsys.readouterr()
        assert reason in output.err and output.err.count("\n") == 1 and output.out == ""
    assert not files.redeemed.exists() and not (tmp_path / "no").exists()

    assert export(owner, out, "--client", "me") == 2
    assert "takes a peer id" in capsys.readouterr().err
    assert export(owner, tmp_path / "no" / "bundle") == 2
    assert "can't be written" in capsys.readouterr().err
    assert export(owner, tmp_path / "text") == 2
    assert "is there already" in capsys.readouterr().err


def test_with_nothing_to_hand_in_no_file_is_made(
    owner: OwnerFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Neither for a client that never signed nor for another month."""
    out = tmp_path / "bundle"

    assert export(owner, out, "--client", Identity.ephemeral().peer_id) == 1
    assert export(owner, out, "--month", "2020-01") == 1
    assert "nothing to be handed in" in capsys.readouterr().out
    assert not out.exists()


def test_a_receipt_that_was_altered_in_the_ledger_stays_out(
    owner: OwnerFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """No sponsor would take it."""
    newest = Ledger.newest_receipts

    def altered(ledger: Ledger, **which: Any) -> Iterable[SignedReceipt]:
        for one in newest(ledger, **which):
            yield SignedReceipt(receipt=one.receipt + b"\x38\x7f", client_signature=one.client_signature)

    monkeypatch.setattr(Ledger, "newest_receipts", altered)
    assert export(owner, tmp_path / "bundle") == 1
    assert "Left out: 4 whose signature doesn't hold" in capsys.readouterr().out


def test_bytes_are_written_in_base64(tmp_path: Path):
    """So that anybody can read a bundle with any language."""
    [one] = chain(Work(1, 0))
    header, text = bundle_of([one]).decode().splitlines()

    assert header == "p2pinfer receipts 1"
    values = {name: base64.b64decode(value) for name, value in json.loads(text).items()}
    assert values == {
        "receipt": one.receipt,
        "client_signature": one.client_signature,
        "server_signature": one.server_signature,
    }


def test_a_claim_that_was_turned_down_stays_so():
    """Whatever was paid."""
    claim = verdict_on(signed(receipt(), server=STRANGER))

    assert settle(claim, None) == claim

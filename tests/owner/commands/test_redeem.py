"""`export` and `redeem`: what an owner submits, a sponsor pays, once."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from p2pinfer.health.kept.contributions import Contributions
from p2pinfer.identity import Identity
from p2pinfer.owner.__main__ import main
from p2pinfer.owner.files import OwnerFiles
from p2pinfer.owner.ledger.ledger import Ledger
from p2pinfer.owner.statement import bundle
from p2pinfer.types import SessionId
from p2pinfer.wire.receipt_pb2 import SignedReceipt
from p2pinfer.wire.receipts import Work
from tests.owner.signing import CLIENT, SERVER, SESSION, STRANGER, chain, receipt, signed
from tests.owner.statement.bundles import bundle_of
from tests.owner.statement.months import RATES_TEXT

ROOT = Path(__file__).parents[3]
TODAY = time.time()


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


def redeem(sponsor: tuple[OwnerFiles, Path], out: Path | list[Path], *flags: str) -> int:
    files, key = sponsor
    bundles = map(str, out if isinstance(out, list) else [out])
    return main(["--data-folder", str(files.folder), "redeem", *bundles, "--identity", str(key), *flags])


def test_what_an_owner_exports_a_sponsor_pays_once(
    owner: OwnerFiles, sponsor: tuple[OwnerFiles, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """First a dry run, then a payment, then nothing is left to pay."""
    out = tmp_path / "bundle"
    assert export(owner, out, "--client", CLIENT.peer_id) == 0
    said = capsys.readouterr().out
    assert "2 sessions" in said and CLIENT.peer_id in said and "Left out: 1 expired receipt." in said

    assert redeem(sponsor, out, "--dry-run") == 0
    assert "nothing was recorded" in capsys.readouterr().out
    assert not sponsor[0].redeemed.exists()

    assert redeem(sponsor, out) == 0
    said = capsys.readouterr().out
    assert "2 receipts: 2 valid" in said
    assert "1,000,000 prefill 500,000 decode, 1.100000 EUR" in said
    assert f"{SERVER.peer_id}   1.53M layer-tokens  1.141000 EUR" in said
    assert "can sign for its own" in said

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
        (["redeem", str(out), "--identity", str(tmp_path / "no")], "name the key file of your client"),
        (["redeem", str(out), "--identity", str(key), "--rates", str(tmp_path / "no")], "rates file"),
        (["export", "--out", str(out)], "there is no ledger in"),
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
    assert "exists already" in capsys.readouterr().err


def test_with_nothing_to_hand_in_no_file_is_made(
    owner: OwnerFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """For a client that never signed, and for another month."""
    out = tmp_path / "bundle"

    assert export(owner, out, "--client", Identity.ephemeral().peer_id) == 1
    assert export(owner, out, "--month", "2020-01") == 1
    assert "nothing to submit" in capsys.readouterr().out
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
    assert "Left out: 4 receipts with a wrong signature or form" in capsys.readouterr().out


def test_what_is_too_much_for_one_file_is_split_and_each_part_counts_once(
    owner: OwnerFiles,
    sponsor: tuple[OwnerFiles, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    """For the sponsor, who takes them together or one by one, and for a health page, which has the bound."""
    monkeypatch.setattr(bundle, "PART_BYTES", 700)
    out, parts = tmp_path / "receipts.txt", [tmp_path / f"receipts-{number}.txt" for number in (2, 3)]
    assert export(owner, out) == 0
    assert f"{out} to receipts-3.txt (3 files; submit all of them): receipts of 3" in capsys.readouterr().out
    assert all(path.stat().st_size <= 700 for path in (out, *parts))

    assert redeem(sponsor, parts[0], "--json") == 0
    capsys.readouterr()
    assert redeem(sponsor, [out, *parts]) == 1
    said = capsys.readouterr().out
    assert "3 receipts: 1 valid, 1 already redeemed, 1 not signed by you" in said
    assert f"{parts[1]}:\nline 2: not signed by you" in said

    with Contributions.open(tmp_path / "board.sqlite") as board:
        assert [board.submit(path).taken for path in (out, *parts, out)] == [1, 1, 1, 0]


def test_half_of_the_parts_are_no_export(
    owner: OwnerFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """A file is in the way of the last one: what others wrote stays."""
    monkeypatch.setattr(bundle, "PART_LINES", 1)
    (tmp_path / "bundle-3").write_text("mine")

    assert export(owner, tmp_path / "bundle") != 0
    assert "bundle-3 exists already: choose a new file" in capsys.readouterr().err
    assert [path.name for path in tmp_path.glob("bundle*")] == ["bundle-3"]

"""`export`: write the newest receipt of every session to a file, for the sponsors."""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from p2pinfer.errors import InvalidReceiptError, UsageError
from p2pinfer.identity import peer_id_of, public_key_of
from p2pinfer.owner.elsewhere import elsewhere
from p2pinfer.owner.files import OwnerFiles
from p2pinfer.owner.ledger.ledger import Ledger
from p2pinfer.owner.statement.bundle import write_bundle
from p2pinfer.owner.statement.month import Month
from p2pinfer.plain_text import several, short_count
from p2pinfer.types import PeerId
from p2pinfer.wire.receipt_pb2 import SignedReceipt
from p2pinfer.wire.receipts import read_receipt

HELP = "write signed receipts to a file, for a sponsor to redeem"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command."""
    parser.description = (
        "Write the newest receipt of every session to a file, which a sponsor can redeem. A receipt includes "
        "the work of all earlier receipts of its session, so no work is in the file twice. A sponsor pays "
        "for each piece of work once, even if you submit it again."
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", required=True, help="the file to write; it must not exist"
    )
    parser.add_argument(
        "--client", metavar="PEER_ID", help="only receipts that this client has signed (default: all clients)"
    )
    parser.add_argument(
        "--month", metavar="YYYY-MM", help="only sessions with a receipt in this month (default: all months)"
    )


def run(args: argparse.Namespace) -> int:
    """Write the file. Returns 1 if there is nothing to write. Raises UsageError and LedgerError."""
    files = OwnerFiles(args.data_folder)
    since, until = float("-inf"), float("inf")
    if args.month:
        month = Month.parse(args.month)
        since, until = month.first.timestamp(), month.following.first.timestamp()
    client = _client(args.client) if args.client else None
    if not files.ledger.exists():
        hint = elsewhere("export --out FILE", files.folder)
        raise UsageError(
            f"there is no ledger in {files.folder}: it begins with the first work of a server"
            + (f"; {hint}" if hint else "")
        )
    out: Path = args.out.expanduser()
    tally = _Tally(now=time.time())
    with Ledger.open(files.ledger) as ledger:
        receipts = tally.watch(ledger.newest_receipts(since=since, until=until, client=client))
        _write(out, receipts)
    print(tally.report(out), end="")
    if not tally.sessions:
        out.unlink()
        return 1
    return 0


class _Tally:
    """Counts the receipts that go into the bundle, and leaves out expired and damaged ones."""

    def __init__(self, *, now: float) -> None:
        self.sessions: Counter[PeerId] = Counter()
        self._layer_tokens: Counter[PeerId] = Counter()
        self._expired = 0
        self._damaged = 0
        self._now = now

    def watch(self, receipts: Iterator[SignedReceipt]) -> Iterator[SignedReceipt]:
        for signed in receipts:
            try:
                receipt = read_receipt(signed)
            except InvalidReceiptError:
                self._damaged += 1
                continue
            if receipt.expires_at <= self._now:
                self._expired += 1
                continue
            client = peer_id_of(receipt.client)
            self.sessions[client] += 1
            self._layer_tokens[client] += receipt.prefill_layer_tokens + receipt.decode_layer_tokens
            yield signed

    def report(self, out: Path) -> str:
        lines = [f"{out}: receipts of {several(self.sessions.total(), 'session')}, signed by"]
        if not self.sessions:
            lines = ["There is nothing to submit: the ledger has no such receipt."]
        for client, sessions in self.sessions.most_common():
            amount = short_count(self._layer_tokens[client])
            lines.append(f"  {client}  {several(sessions, 'session'):>15}  {amount:>6} layer-tokens")
        if len(self.sessions) > 1:
            lines.append(
                "A sponsor pays only its own receipts: --client PEER_ID writes a file for one sponsor."
            )
        if self._expired:
            lines.append(f"Left out: {several(self._expired, 'expired receipt')}.")
        if self._damaged:
            damaged = several(self._damaged, "receipt")
            lines.append(f"Left out: {damaged} with a wrong signature: the ledger was altered.")
        return "\n".join(lines) + "\n"


def _client(text: str) -> bytes:
    try:
        return public_key_of(text)
    except ValueError as error:
        raise UsageError(f"--client takes a peer id (12D3Koo...), not {text!r}") from error


def _write(out: Path, receipts: Iterator[SignedReceipt]) -> None:
    try:
        with out.open("x", encoding="ascii") as file:
            try:
                write_bundle(file, receipts)
                file.flush()
                os.fsync(file.fileno())
            except BaseException:  # half a bundle is of no use
                with contextlib.suppress(OSError):
                    out.unlink()
                raise
    except FileExistsError as error:
        raise UsageError(f"{out} exists already: choose a new file") from error
    except OSError as error:
        raise UsageError(f"{out} can't be written ({error.strerror})") from error

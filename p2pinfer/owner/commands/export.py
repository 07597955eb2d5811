"""`export`: write the newest receipt of every session to a file, for the sponsors."""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from p2pinfer.errors import InvalidReceiptError, UsageError
from p2pinfer.identity import peer_id_of, public_key_of
from p2pinfer.owner.elsewhere import elsewhere
from p2pinfer.owner.files import OwnerFiles
from p2pinfer.owner.ledger.ledger import Ledger
from p2pinfer.owner.statement.bundle import bundle_lines
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
        "for each piece of work once, even if you submit it again. More receipts than a health page takes at "
        "a time (8 MB, some 14,000) become several files: FILE, then FILE-2, FILE-3, ... before its ending."
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
        newest = ledger.newest_receipts(since=since, until=until, client=client)
        with contextlib.closing(newest), contextlib.closing(tally.watch(newest)) as receipts:
            written = _write(out, receipts)
    print(tally.report(written), end="")
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

    def watch(self, receipts: Iterator[SignedReceipt]) -> Generator[SignedReceipt, None, None]:
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

    def report(self, written: Sequence[Path]) -> str:
        names = str(written[0])
        if len(written) > 1:
            names = f"{names} to {written[-1].name} ({len(written)} files; submit all of them)"
        lines = [f"{names}: receipts of {several(self.sessions.total(), 'session')}, signed by"]
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
            lines.append(f"Left out: {damaged} with a wrong signature or form: no sponsor would take them.")
        return "\n".join(lines) + "\n"


def _client(text: str) -> bytes:
    try:
        return public_key_of(text)
    except ValueError as error:
        raise UsageError(f"--client takes a peer id (12D3Koo...), not {text!r}") from error


def _write(out: Path, receipts: Iterator[SignedReceipt]) -> list[Path]:
    """Write as many files as the receipts need, or none. Returns their paths."""
    written: list[Path] = []
    try:
        with contextlib.ExitStack() as files:
            for number, line in bundle_lines(receipts):
                if number > len(written):
                    files.close()
                    path = out if number == 1 else out.with_name(f"{out.stem}-{number}{out.suffix}")
                    file = files.enter_context(_new_file(path))
                    written.append(path)
                file.write(line)
    except BaseException as error:  # half of the bundles are of no use
        for path in written:
            with contextlib.suppress(OSError):
                path.unlink()
        if isinstance(error, OSError):
            raise UsageError(f"{out} can't be written ({error.strerror})") from error
        raise
    return written


@contextlib.contextmanager
def _new_file(path: Path) -> Iterator[TextIO]:
    """A new file, which is on the disk when the block has ended. Raises UsageError if the path is taken."""
    try:
        file = path.open("x", encoding="ascii")
    except FileExistsError as error:
        raise UsageError(f"{path} exists already: choose a new file") from error
    with file:
        yield file
        file.flush()
        os.fsync(file.fileno())

"""`redeem`: tell a sponsor which receipts in a file to pay, and how much; each piece of work once."""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from p2pinfer.errors import DatabaseError, P2PInferError, UsageError
from p2pinfer.identity import Identity
from p2pinfer.owner.files import OwnerFiles
from p2pinfer.owner.statement.bundle import BundleLine, open_bundle, read_bundle
from p2pinfer.owner.statement.rates import rates_in_use
from p2pinfer.owner.statement.redeemed import Redeemed
from p2pinfer.owner.statement.redemption import Claim, ClaimVerdict, examine, in_batches
from p2pinfer.plain_text import several, short_count
from p2pinfer.types import PeerId, short_id

HELP = "for sponsors: check files of receipts and say what to pay"

_BATCH = 500

_LIMITS = """\
What receipts can't prevent: a sponsor that runs servers can sign for its own servers and pay itself. A
signature proves that the client says that the work was done. It doesn't prove that the answer was right, or
that anybody needed it.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command."""
    parser.description = (
        "Check the receipts in a file that a server's owner has submitted, and say what each adds to the "
        "work that was redeemed before. The command records what it reports as valid: a second run pays "
        "nothing for it. Use one data folder for all redeeming, and back it up. Exit status 0: all receipts "
        "were valid; 1: some were not."
    )
    parser.epilog = _LIMITS
    parser.add_argument(
        "bundles", type=Path, nargs="+", metavar="BUNDLE", help="the files that `owner export` wrote"
    )
    parser.add_argument(
        "--identity",
        type=Path,
        action="append",
        required=True,
        metavar="KEYFILE",
        help="the key file of your client that signed; repeat the flag for several clients",
    )
    parser.add_argument(
        "--rates",
        type=Path,
        metavar="FILE",
        help="what you pay (default: rates.toml in the data folder, if there is one; without rates the work "
        "is only counted)",
    )
    parser.add_argument("--dry-run", action="store_true", help="report only, and record nothing")
    parser.add_argument(
        "--json", action="store_true", help="print a JSON object per receipt, and one with the totals"
    )


def run(args: argparse.Namespace) -> int:
    """Redeem bundles. Returns 0 if all receipts were valid, else 1. Raises UsageError and DatabaseError."""
    files = OwnerFiles(args.data_folder)
    clients = frozenset(_identity(path).public_key for path in args.identity)
    rates = rates_in_use(args.rates, files)
    report: _Report = _JsonReport() if args.json else _TextReport()
    totals = _Totals()
    opening = Redeemed.rehearse if args.dry_run else Redeemed.open
    stopped_by: P2PInferError | None = None
    for path in args.bundles:  # before a file is made: raises here if one isn't a bundle
        with _lines(path) as lines:
            next(lines, None)
    with opening(files.redeemed) as redeemed:
        try:
            for path in args.bundles:
                if len(args.bundles) > 1:
                    report.bundle(path)
                with _lines(path) as lines:
                    for batch in in_batches(lines, _BATCH):
                        now = time.time()
                        examined = [examine(line, clients=clients, rates=rates, now=now) for line in batch]
                        for claim in redeemed.pay(examined, now=now):
                            totals.add(claim)
                            report.claim(claim)
        except (UsageError, DatabaseError) as error:
            stopped_by = error
    report.end(totals, remembered_in=None if args.dry_run else files.redeemed)
    if stopped_by is not None:
        raise stopped_by  # the claims reported before stay paid
    return 0 if set(totals.verdicts) <= {ClaimVerdict.VALID} else 1


@contextmanager
def _lines(path: Path) -> Iterator[Iterator[BundleLine]]:
    with open_bundle(path) as file, closing(read_bundle(file, str(path))) as lines:
        yield lines


class _Totals:
    """The totals of all bundles. Only valid claims take memory, and the sponsor itself has signed these."""

    def __init__(self) -> None:
        self.verdicts: Counter[ClaimVerdict] = Counter()
        self.layer_tokens: Counter[PeerId] = Counter()
        self.amounts: dict[PeerId, dict[str, Decimal]] = {}  # by currency

    def add(self, claim: Claim) -> None:
        self.verdicts[claim.verdict] += 1
        if claim.verdict is not ClaimVerdict.VALID or claim.receipt is None:
            return
        server = claim.receipt.server
        self.layer_tokens[server] += claim.prefill_layer_tokens + claim.decode_layer_tokens
        if claim.rate is not None and claim.amount is not None:
            amounts = self.amounts.setdefault(server, {})
            amounts[claim.rate.currency] = amounts.get(claim.rate.currency, Decimal(0)) + claim.amount


class _Report(Protocol):
    def bundle(self, path: Path) -> None: ...

    def claim(self, claim: Claim) -> None: ...

    def end(self, totals: _Totals, *, remembered_in: Path | None) -> None: ...


class _TextReport:
    """Prints claims as text. Of a bundle's own text it shows only peer ids, after they were checked."""

    def bundle(self, path: Path) -> None:
        print(f"{path}:")

    def claim(self, claim: Claim) -> None:
        if claim.verdict is not ClaimVerdict.VALID or claim.receipt is None:
            print(f"line {claim.line}: {claim.verdict} ({claim.words})")
            return
        amount = "" if claim.rate is None else f", {claim.amount or 0:.6f} {claim.rate.currency}"
        print(
            f"line {claim.line}: valid, server {short_id(claim.receipt.server)}, "
            f"session {claim.receipt.session_id.hex()[:8]}, layer-tokens "
            f"{claim.prefill_layer_tokens:,} prefill {claim.decode_layer_tokens:,} decode{amount}"
        )

    def end(self, totals: _Totals, *, remembered_in: Path | None) -> None:
        counts = ", ".join(f"{count} {verdict}" for verdict, count in totals.verdicts.most_common())
        print(
            f"\n{several(totals.verdicts.total(), 'receipt')}: {counts}"
            if counts
            else "\nThere are no receipts."
        )
        if totals.layer_tokens:
            print("To pay:" if totals.amounts else "Work, without rates to price it by:")
        for server, layer_tokens in totals.layer_tokens.most_common():
            amounts = "".join(
                f"  {amount:.6f} {currency}" for currency, amount in totals.amounts.get(server, {}).items()
            )
            print(f"  {server}  {short_count(layer_tokens):>6} layer-tokens{amounts}")
        if remembered_in is None:
            print("A dry run: nothing was recorded.")
        elif totals.layer_tokens:
            print(f"Recorded in {remembered_in}: the same receipts will not be paid again.")
        print(f"\n{_LIMITS}", end="")


class _JsonReport:
    def __init__(self) -> None:
        self._bundle: dict[str, object] = {}

    def bundle(self, path: Path) -> None:
        self._bundle = {"bundle": str(path)}

    def claim(self, claim: Claim) -> None:
        values: dict[str, object] = {**self._bundle, "line": claim.line, "verdict": claim.verdict.value}
        if claim.words:
            values["words"] = claim.words
        if claim.verdict is ClaimVerdict.VALID and claim.receipt is not None:
            values |= {
                "server": claim.receipt.server,
                "session": claim.receipt.session_id.hex(),
                "prefill_layer_tokens": claim.prefill_layer_tokens,
                "decode_layer_tokens": claim.decode_layer_tokens,
                "currency": claim.rate.currency if claim.rate else None,
                "amount": f"{claim.amount:f}" if claim.amount is not None else None,
            }
        print(json.dumps(values))

    def end(self, totals: _Totals, *, remembered_in: Path | None) -> None:
        servers = {
            server: {
                "layer_tokens": layer_tokens,
                "amounts": {
                    currency: f"{amount:f}" for currency, amount in totals.amounts.get(server, {}).items()
                },
            }
            for server, layer_tokens in totals.layer_tokens.items()
        }
        verdicts = {verdict.value: count for verdict, count in totals.verdicts.items()}
        print(json.dumps({"verdicts": verdicts, "servers": servers, "remembered": remembered_in is not None}))


def _identity(path: Path) -> Identity:
    path = path.expanduser()
    if not path.exists():  # load_or_create would make a new key, which has signed nothing
        raise UsageError(f"there is no identity file {path}: name the key file of your client")
    return Identity.load_or_create(path)

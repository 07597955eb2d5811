"""What sponsors pay: their published rates, which the owner copies into `rates.toml`.

    [[sponsor]]
    client = "12D3KooW..."    # peer id of the key that signs receipts
    name = "Example Foundation"
    currency = "EUR"
    per_million_prefill_layer_tokens = 0.002
    per_million_decode_layer_tokens = 0.012
    valid_from = 2026-01-01
    valid_until = 2026-12-31  # the last day; without this line there is no end

Days begin at 00:00 UTC. Of several valid entries of a client the one with the latest `valid_from` counts.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from p2pinfer.errors import UsageError
from p2pinfer.identity import public_key_of
from p2pinfer.outside.trusted_files import check_only_ours
from p2pinfer.owner.files import OwnerFiles
from p2pinfer.owner.plain_file import read_plain_file
from p2pinfer.owner.policy.toml_shape import ShapeError, check_shape
from p2pinfer.types import PeerId

_MOST_BYTES = 1 << 20
_MILLION = Decimal(1_000_000)
_MAX_RATE = Decimal(1_000_000_000)
_MAX_DECIMAL_PLACES = 18
_CURRENCY = re.compile(r"[^\s,;\"]{1,8}")  # as in the owner's policy
_REQUIRED = (
    "client",
    "name",
    "currency",
    "per_million_prefill_layer_tokens",
    "per_million_decode_layer_tokens",
    "valid_from",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What one sponsor pays in a period."""

    client: PeerId  # whose key signs the receipts
    name: str
    currency: str
    per_million_prefill_layer_tokens: Decimal
    per_million_decode_layer_tokens: Decimal
    valid_from: date
    valid_until: date | None  # the last day; None: no end

    def credit(self, prefill_layer_tokens: int, decode_layer_tokens: int) -> Decimal:
        """The price of this work, in the rate's currency."""
        return (
            self.per_million_prefill_layer_tokens * prefill_layer_tokens
            + self.per_million_decode_layer_tokens * decode_layer_tokens
        ) / _MILLION

    def is_valid(self, at: float) -> bool:
        """True if `at` (Unix seconds) is on a day from `valid_from` to `valid_until`."""
        if at < _midnight(self.valid_from):
            return False
        return self.valid_until is None or at < _midnight(self.valid_until) + 86_400


def rate_of(rates: Iterable[Rate], client: PeerId, at: float) -> Rate | None:
    """The rate for work that this client signed for at this time (Unix seconds); None if there is none."""
    valid = (rate for rate in rates if rate.client == client and rate.is_valid(at))
    return max(valid, key=lambda rate: rate.valid_from, default=None)


def rates_in_use(chosen: Path | None, files: OwnerFiles) -> tuple[Rate, ...]:
    """The rates in the chosen file, or else in the data folder, if it has any.

    Raises UsageError as `read_rates` does.
    """
    if chosen is not None:
        return read_rates(chosen.expanduser())
    return read_rates(files.rates) if files.rates.exists() else ()


def read_rates(path: Path) -> tuple[Rate, ...]:
    """The rates in a file. Raises UsageError, naming file and entry, if it can't be read or has mistakes."""
    check_only_ours(path, f"rates file {path}")
    try:
        data, _ = read_plain_file(path, most_bytes=_MOST_BYTES)
        text = data.decode("utf-8")
    except OSError as error:
        raise UsageError(f"rates file {path} can't be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"rates file {path} is not UTF-8 text") from error
    if len(data) > _MOST_BYTES:
        raise UsageError(f"rates file {path} has more than {_MOST_BYTES >> 10} KiB: that is another file")
    return parse_rates(text, str(path))


def parse_rates(text: str, name: str) -> tuple[Rate, ...]:
    """The rates in the text of a file that messages call `name`. Raises UsageError, naming the entry."""
    try:
        check_shape(text)
        # Decimal keeps the digits as they are written; a float would round them.
        values = tomllib.loads(text, parse_float=Decimal)
    except ShapeError as error:
        raise UsageError(f"rates file {name} line {error.line}: {error}") from None
    except (ValueError, ArithmeticError) as error:  # malformed, or a number of thousands of digits
        raise UsageError(f"rates file {name}: {error}") from error
    entries = values.pop("sponsor", [])
    if values:
        raise UsageError(
            f"rates file {name}: {next(iter(values))!r} is unknown; entries begin with [[sponsor]]"
        )
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UsageError(f"rates file {name}: write [[sponsor]], in double brackets, above each entry")
    rates = tuple(
        _parse(entry, f"rates file {name}, sponsor {number}") for number, entry in enumerate(entries, start=1)
    )
    seen: dict[tuple[PeerId, date], int] = {}
    for number, rate in enumerate(rates, start=1):
        first = seen.setdefault((rate.client, rate.valid_from), number)
        if first != number:
            raise UsageError(
                f"rates file {name}, sponsor {number}: the same client and valid_from as sponsor {first}"
            )
    return rates


def _parse(entry: Mapping[str, Any], where: str) -> Rate:
    where = f"{where} ({entry['name']})" if _is_word(entry.get("name")) else where
    for key in _REQUIRED:
        if key not in entry:
            raise UsageError(f"{where}: {key} is missing")
    for key in entry:
        if key not in (*_REQUIRED, "valid_until"):
            raise UsageError(f"{where}: {key!r} is unknown")
    if not _is_word(entry["name"]):
        raise UsageError(f"{where}: name has to be one line of 1 to 100 characters")
    currency = entry["currency"]
    if not _is_word(currency) or not _CURRENCY.fullmatch(currency):
        raise UsageError(f'{where}: currency has to be a short name such as "EUR", not {currency!r}')
    valid_from, valid_until = _date(entry, "valid_from", where), None
    if "valid_until" in entry:
        valid_until = _date(entry, "valid_until", where)
        if valid_until < valid_from:
            raise UsageError(f"{where}: valid_until is before valid_from")
    return Rate(
        client=_client(entry, where),
        name=entry["name"],
        currency=currency,
        per_million_prefill_layer_tokens=_amount(entry, "per_million_prefill_layer_tokens", where),
        per_million_decode_layer_tokens=_amount(entry, "per_million_decode_layer_tokens", where),
        valid_from=valid_from,
        valid_until=valid_until,
    )


def _is_word(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 100 and value.isprintable()


def _client(entry: Mapping[str, Any], where: str) -> PeerId:
    client = entry["client"]
    try:
        public_key_of(client if isinstance(client, str) else "")
    except ValueError as error:
        raise UsageError(f"{where}: client has to be a peer id (12D3Koo...), not {client!r}") from error
    return PeerId(client)


def _amount(entry: Mapping[str, Any], key: str, where: str) -> Decimal:
    value = entry[key]
    if isinstance(value, int) and not isinstance(value, bool):
        value = Decimal(value)
    if not isinstance(value, Decimal) or not value.is_finite() or not 0 <= value <= _MAX_RATE:
        raise UsageError(f"{where}: {key} has to be a number from 0 to {_MAX_RATE:,}, not {value}")
    if value.as_tuple().exponent < -_MAX_DECIMAL_PLACES:  # type: ignore[operator]  # finite ones have a number
        raise UsageError(f"{where}: {key} has more than {_MAX_DECIMAL_PLACES} decimal places")
    return value


def _date(entry: Mapping[str, Any], key: str, where: str) -> date:
    value = entry[key]
    if not isinstance(value, date) or isinstance(value, datetime):
        raise UsageError(f"{where}: {key} has to be a date such as 2026-01-31, without quotes")
    return value


def _midnight(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()

"""API keys and the lines of their file. Pure.

A key is `p2p-ID-SECRET`. The file has the id, which is no secret, and a salted SHA-256 of the secret: the
secret has 192 random bits, so a slow hash would gain nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from p2pinfer.errors import UsageError
from p2pinfer.outside.plain_json import read_json

MOST_KEYS = 10_000
MOST_NAME_CHARACTERS = 64
MOST_LIMIT = 10**12

_VERSION = 1
_ID_BYTES, _SECRET_BYTES, _SALT_BYTES = 6, 24, 16
_KEY = re.compile(r"p2p-([0-9a-f]{12})-([0-9a-f]{48})")
_LIMITS = ("requests_per_minute", "tokens_per_day", "concurrent")


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What the file knows of a key."""

    name: str
    """Whose it is: for people, and for the log."""

    id: str
    salt: str  # hex
    hash: str  # hex, of salt and secret
    created: str  # a date in UTC

    requests_per_minute: int | None = None
    tokens_per_day: int | None = None
    concurrent: int | None = None
    """Requests at the same time. None: no limit."""


def new_key(name: str, *, created: str, limits: Mapping[str, int | None]) -> tuple[str, Key]:
    """A new random key, and what the file keeps of it. The key itself can't be told again."""
    identifier, secret = secrets.token_hex(_ID_BYTES), secrets.token_hex(_SECRET_BYTES)
    salt = secrets.token_hex(_SALT_BYTES)
    key = Key(name=name, id=identifier, salt=salt, hash=_hash(salt, secret), created=created, **limits)
    return f"p2p-{identifier}-{secret}", key


def find_key(text: str, keys: Mapping[str, Key]) -> Key | None:
    """The key that a client sent, by its id; None if it isn't one. Takes as long for a wrong secret."""
    parts = _KEY.fullmatch(text)
    if parts is None:
        return None
    key = keys.get(parts[1])
    salt, expected = (key.salt, key.hash) if key is not None else ("0" * 2 * _SALT_BYTES, "0" * 64)
    return key if hmac.compare_digest(_hash(salt, parts[2]), expected) else None


def keys_as_text(keys: Iterable[Key]) -> str:
    """The content of a file."""
    return json.dumps({"version": _VERSION, "keys": [asdict(key) for key in keys]}, indent=1) + "\n"


def parse_keys(text: str | bytes) -> dict[str, Key]:
    """The keys of a file by id. Raises UsageError, which says what is wrong, for any other content."""
    try:
        data = read_json(text)
    except ValueError as error:
        raise UsageError("it isn't JSON") from error
    if (
        not isinstance(data, dict)
        or data.get("version") != _VERSION
        or not isinstance(data.get("keys"), list)
    ):
        raise UsageError("it isn't a file of keys that this p2pinfer reads")
    if len(data["keys"]) > MOST_KEYS:
        raise UsageError(f"it has more than {MOST_KEYS:,} keys")
    keys = [_parse_key(entry) for entry in data["keys"]]
    for part in ("id", "name"):
        if len({getattr(key, part) for key in keys}) < len(keys):
            raise UsageError(f"two keys have the same {part}")
    return {key.id: key for key in keys}


def check_name(name: str) -> None:
    """Raise UsageError if nobody could tell a key by this name."""
    if not name.strip() or name != name.strip() or not name.isprintable() or len(name) > MOST_NAME_CHARACTERS:
        raise UsageError(f"a name has 1 to {MOST_NAME_CHARACTERS} printable characters, not {name!r}")


def _parse_key(entry: Any) -> Key:
    names = {field.name for field in fields(Key)}
    if not isinstance(entry, dict) or not entry.keys() <= names:
        raise UsageError("an entry is malformed")
    for name in ("name", "id", "salt", "hash", "created"):
        if not isinstance(entry.get(name), str):
            raise UsageError(f"an entry has no {name}")
    check_name(entry["name"])
    for name, digits in (("id", 2 * _ID_BYTES), ("salt", 2 * _SALT_BYTES), ("hash", 64)):
        if not re.fullmatch(f"[0-9a-f]{{{digits}}}", entry[name]):
            raise UsageError(f"the {name} of {entry['name']} is malformed")
    for name in _LIMITS:
        limit = entry.get(name)
        is_number = isinstance(limit, int) and not isinstance(limit, bool)
        if limit is not None and not (is_number and 1 <= limit <= MOST_LIMIT):
            raise UsageError(f"{name} of {entry['name']} isn't a whole number of at least 1")
    return Key(**entry)


def _hash(salt: str, secret: str) -> str:
    return hashlib.sha256(bytes.fromhex(salt) + secret.encode()).hexdigest()

"""What people write to name a model of the swarm: `NAME`, `NAME@HASH`, or a whole hash."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from p2pinfer.errors import UsageError
from p2pinfer.model.formats.lookup import is_path
from p2pinfer.plain_text import printable

HASH_CHARACTERS = 64
SHORT_HASH_CHARACTERS = 16
"""In commands to copy. Eight can be found again by trying, sixteen can't."""

_LEAST_HASH_CHARACTERS = 8
_MOST_NAME_CHARACTERS = 128  # as the records of the swarm
_HASH = re.compile(r"[0-9a-f]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRef:
    """A model as its user names it: by name, by the beginning of its hash, or both."""

    name: str | None = None
    hash_prefix: str | None = None  # 8 to 64 lowercase hex digits; without a name all 64

    @classmethod
    def parse(cls, text: str) -> ModelRef:
        """Read `NAME`, `NAME@HASH` or a hash of 64 digits. Raises UsageError: what is wrong with it.

        A hub id such as `org/name` is a name. A path is none, and is refused: whoever can look at the disk
        should ask it first (`lookup.is_local`).
        """
        shown = printable(text)
        if is_path(text):
            raise UsageError(f"{shown!r} is a path, not the name of a model in the swarm")
        if _HASH.fullmatch(text) and len(text) == HASH_CHARACTERS:
            return cls(hash_prefix=text)
        name, at, digits = text.rpartition("@")
        if not at:
            name = digits
        if not name.strip() or name != name.strip() or not name.isprintable():
            raise UsageError(f"{shown!r} isn't the name of a model: NAME, NAME@HASH or a hash is expected")
        if len(name) > _MOST_NAME_CHARACTERS:
            raise UsageError(f"the name {shown!r} is too long: at most {_MOST_NAME_CHARACTERS} characters")
        if not at:
            return cls(name=name)
        if not _HASH.fullmatch(digits) or not _LEAST_HASH_CHARACTERS <= len(digits) <= HASH_CHARACTERS:
            raise UsageError(
                f"{shown!r}: {printable(digits, 80)!r} isn't the hash of a model. Behind @ are "
                f"{_LEAST_HASH_CHARACTERS} to {HASH_CHARACTERS} lowercase hex digits, the hash's first ones"
            )
        return cls(name=name, hash_prefix=digits)

    def __str__(self) -> str:
        return "@".join(part for part in (self.name, self.hash_prefix) if part)


def words_to_copy(name: str, model: str) -> str:
    """What to type for this model and no other, as a shell needs it: `NAME@HASH`.

    It is the whole hash where the name, which a stranger chose, can't be typed.
    """
    text = f"{name}@{model[:SHORT_HASH_CHARACTERS]}"
    try:
        is_safe = ModelRef.parse(text).name == name and not name.startswith("-")
    except UsageError:
        is_safe = False
    return shlex.quote(text) if is_safe else model

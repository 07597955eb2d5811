"""What is known of a file, and how much of the disk files may take. Plain data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

_MOST_FILES = 100_000
_MOST_FILES_OF_OWNER = 10_000
_SHARES = 4
"""One owner may have so much of the bytes: a fourth part."""


class Purpose(StrEnum):
    """What a file is for, in OpenAI's words."""

    BATCH = "batch"
    """The input of batches."""
    BATCH_OUTPUT = "batch_output"
    """What a batch made: its answers, or its errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """One file. Times are Unix seconds."""

    id: str
    """`file-` and 32 hexadecimal digits."""
    owner: str
    purpose: Purpose
    name: str
    """As its sender calls it: a label, never a path."""
    size_bytes: int
    created_at: float
    expires_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """How many files there are, and how long they are together."""

    files: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLimits:
    """How much may be kept."""

    most_bytes: int
    most_bytes_of_owner: int
    most_files: int = _MOST_FILES
    most_files_of_owner: int = _MOST_FILES_OF_OWNER

    @classmethod
    def of(cls, most_bytes: int, *, has_owners: bool) -> FileLimits:
        """The limits for so many bytes on the disk. Where everybody is the same owner he may have it all."""
        return cls(
            most_bytes=most_bytes, most_bytes_of_owner=most_bytes // _SHARES if has_owners else most_bytes
        )

    def refusal(self, *, owner: Totals, everybody: Totals, size_bytes: int) -> str:
        """Why one more file of `size_bytes` can't be kept; empty if it can. Pure."""
        if owner.files >= self.most_files_of_owner:
            return f"You have {owner.files:,} files, and may have {self.most_files_of_owner:,}: delete some."
        if owner.size_bytes + size_bytes > self.most_bytes_of_owner:
            return (
                f"Your files take {_megabytes(owner.size_bytes)}, and may take "
                f"{_megabytes(self.most_bytes_of_owner)} with this one: delete some."
            )
        if everybody.files >= self.most_files or everybody.size_bytes + size_bytes > self.most_bytes:
            return (
                "The files of all users take what the gateway gives them: delete some, or ask its operator."
            )
        return ""


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.1f} MB"

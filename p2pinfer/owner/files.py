"""Where the owner's files are: all of one machine in one folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class OwnerFiles:
    """The files in a data folder; none of them has to exist."""

    folder: Path

    @property
    def policy(self) -> Path:
        """When the machine may work."""
        return self.folder / "policy.toml"

    @property
    def consent(self) -> Path:
        """What the owner has agreed to."""
        return self.folder / "consent.json"

    @property
    def ledger(self) -> Path:
        """What was worked, and what others have signed for it."""
        return self.folder / "ledger.sqlite"

    @property
    def rates(self) -> Path:
        """What sponsors pay, as they have published it."""
        return self.folder / "rates.toml"

    @property
    def redeemed(self) -> Path:
        """What this sponsor has paid for already."""
        return self.folder / "redeemed.sqlite"

    @property
    def statuses(self) -> Path:
        """A file for each server of this machine, with how it is."""
        return self.folder / "status"

"""The owner's files: all files of one machine are in one folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class OwnerFiles:
    """The paths of the files in a data folder. None of the files has to exist."""

    folder: Path

    @property
    def policy(self) -> Path:
        """The rules that say when the machine may work."""
        return self.folder / "policy.toml"

    @property
    def consent(self) -> Path:
        """The owner's consent."""
        return self.folder / "consent.json"

    @property
    def ledger(self) -> Path:
        """The work of this machine's servers, and what clients have signed for it."""
        return self.folder / "ledger.sqlite"

    @property
    def rates(self) -> Path:
        """What sponsors pay, as published by them."""
        return self.folder / "rates.toml"

    @property
    def redeemed(self) -> Path:
        """The receipts that this sponsor has paid for."""
        return self.folder / "redeemed.sqlite"

    @property
    def relayed(self) -> Path:
        """A folder with what each server of this machine has passed on between others this month."""
        return self.folder / "relayed"

    @property
    def statuses(self) -> Path:
        """A folder with the status of each server of this machine, one file each."""
        return self.folder / "status"

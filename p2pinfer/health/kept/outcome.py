"""What became of the receipts of one bundle."""

from __future__ import annotations

from dataclasses import dataclass, field

from p2pinfer.health.snapshot.plain import clean_text
from p2pinfer.health.snapshot.source import Submission

_MAX_REASONS = 10


@dataclass(slots=True)
class Outcome:
    """Counts of a bundle's receipts so far, and the first reasons for refusals."""

    taken: int = 0
    known: int = 0
    reasons: list[str] = field(default_factory=list)
    refused: int = 0

    def note(self, line: int, kept: str | bool) -> None:
        """Count one line: True if it is new, False if it is known, text if it is refused."""
        if isinstance(kept, str):
            self.refuse(f"line {line}: {kept}")
        elif kept:
            self.taken += 1
        else:
            self.known += 1

    def refuse(self, words: str) -> None:
        """Count a refusal. Only the first ten reasons are kept."""
        self.refused += 1
        if len(self.reasons) < _MAX_REASONS:
            self.reasons.append(clean_text(words, 200))

    def submission(self) -> Submission:
        """The answer to the sender."""
        more = self.refused - len(self.reasons)
        last = (f"and {more:,} more",) if more else ()
        return Submission(taken=self.taken, known=self.known, refused=(*self.reasons, *last))

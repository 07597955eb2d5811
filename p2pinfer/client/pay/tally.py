"""What one hop may claim for a session, and what the client has signed of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from p2pinfer.wire.receipts import Work


@dataclass(slots=True)
class Tally:
    """The client's own count: it signs for no more than this, whatever a hop claims."""

    asked: Work = field(default_factory=Work)  # of the steps that were sent into the chain
    history_tokens: int = 0  # replayed to the hop, or about to be
    copied_tokens: int = 0  # by FORK and RECALL steps: no work, but they lengthen the hop's history
    claimed: Work = field(default_factory=Work)  # the most that the hop has told of
    signed: Work = field(default_factory=Work)  # in the newest receipt that the hop has taken
    sequence: int = 0

    @property
    def most(self) -> Work:
        """The most work that the hop can have done."""
        return self.asked + Work(prefill_tokens=self.history_tokens)

    def ask(self, work: Work) -> None:
        """Count a step. Call it before the step is sent."""
        self.asked = self.asked + work

    @property
    def most_passed_on(self) -> int:
        """The most tokens that the hop can have to replay to a hop that comes after it."""
        return self.most.tokens + self.copied_tokens

    def expect_history(self, tokens: int) -> None:
        """Count a replay to a new hop. A hop computes each token once: a longer replay replaces a shorter."""
        self.history_tokens = max(self.history_tokens, tokens)

    def is_news(self, claimed: Work) -> bool:
        """True if the hop claims work that was asked for, and that it has not claimed before.

        So it can claim as often as tokens are asked for, and no more often.
        """
        possible = claimed.at_most(self.most)
        if possible.within(self.claimed):
            return False
        self.claimed = Work(
            max(possible.prefill_tokens, self.claimed.prefill_tokens),
            max(possible.decode_tokens, self.claimed.decode_tokens),
        )
        return True

    def to_sign(self, claimed: Work) -> Work | None:
        """Return what to sign when the hop claims this much; None if nothing is owed."""
        owed = claimed.at_most(self.most)
        if not self.signed.within(owed) or owed == self.signed:
            return None
        return owed

    def next_sequence(self) -> int:
        """Return the number of the next receipt. It grows even if the hop did not take the one before."""
        self.sequence += 1
        return self.sequence

"""What one hop may claim for a session, and what the client has signed of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from p2pinfer.wire.receipts import Work


@dataclass(slots=True)
class Tally:
    """Counted by the client itself: a hop that claims more isn't believed."""

    asked: Work = field(default_factory=Work)  # of the steps that were sent into the chain
    history_tokens: int = 0  # that the hop was, or is being, fed
    signed: Work = field(default_factory=Work)  # and taken by the hop
    sequence: int = 0

    @property
    def most(self) -> Work:
        """All that it can have done."""
        return self.asked + Work(prefill_tokens=self.history_tokens)

    def ask(self, work: Work) -> None:
        """A step goes into the chain. Call it before the step is sent."""
        self.asked = self.asked + work

    def feed(self, held_tokens: int) -> None:
        """The hop, a new one, is to be fed what others hold: each token once, however often it is said."""
        self.history_tokens = max(self.history_tokens, held_tokens)

    def to_sign(self, claimed: Work) -> Work | None:
        """What to sign where the hop claims this much; None if nothing is owed."""
        owed = claimed.at_most(self.most)
        if not self.signed.within(owed) or owed == self.signed:
            return None
        return owed

    def next_sequence(self) -> int:
        """The number of the next receipt: each is higher, whether the one before was taken or not."""
        self.sequence += 1
        return self.sequence

"""Where an overdue step is, from what the hops say about their progress. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HopProgress:
    """Ids of the newest steps that a hop has received, computed, and handed to the network whole."""

    received: int
    computed: int
    sent: int

    def is_behind(self, earlier: HopProgress) -> bool:
        """True if the hop says less than it said `earlier`."""
        return (
            self.received < earlier.received or self.computed < earlier.computed or self.sent < earlier.sent
        )


@dataclass(frozen=True, slots=True)
class Silent:
    """This hop does not answer."""

    hop: int


@dataclass(frozen=True, slots=True)
class Lying:
    """What this hop says can't be true."""

    hop: int


@dataclass(frozen=True, slots=True)
class Stuck:
    """Hop `sender` has sent the step and the next hop has not received it.

    -1 is the client, which also follows the last hop. The step may just be on its way: only a step that
    stays stuck means a broken link.
    """

    sender: int


@dataclass(frozen=True, slots=True)
class Working:
    """This hop has the step and has not finished it."""

    hop: int


Verdict = Silent | Lying | Stuck | Working


def diagnose(step_id: int, last_step_id: int, hops: Sequence[HopProgress | None]) -> Verdict:
    """Return where an overdue step is, from the answers of the route's hops; None: the hop did not answer.

    `last_step_id` is that of the last step that was sent: no hop can have had a later one. A silent hop is
    named before anything else: the other answers then only tell how far the step got. A hop counts as having
    computed no more than it received, and as having sent no more than it computed.
    """
    for index, progress in enumerate(hops):
        if progress is None:
            return Silent(index)
    for index, progress in enumerate(hops):
        assert progress is not None
        if max(progress.received, progress.computed, progress.sent) > last_step_id:
            return Lying(index)
    for index, progress in enumerate(hops):
        assert progress is not None
        if progress.received < step_id:
            return Stuck(index - 1)
        if progress.computed < step_id:
            return Working(index)
        if progress.sent < step_id:
            return Stuck(index)
    return Stuck(len(hops) - 1)

"""How far a session is. The computing thread writes it, and the event loop reads it without waiting."""

from __future__ import annotations

from dataclasses import dataclass, field

from p2pinfer.wire.receipts import Work


@dataclass(slots=True, eq=False)
class Progress:
    """The only part of a stream that another thread may read. Each field is replaced whole.

    Step ids are 0 until there is a step.
    """

    received_step_id: int = 0  # of the last step that was accepted
    computed_step_id: int = 0
    sent_step_id: int = 0  # of the last step whose outputs the next hop or the client has taken
    history_tokens: int = 0  # tokens in the caches that came as HISTORY
    tokens_run: int = 0  # of all steps that were begun
    cache_tokens: int = 0  # that the rows take, in whole pages
    outputs_are_lost: bool = False  # their lane has failed, and the client has named no other yet
    done: Work = field(default_factory=Work)  # computed, signed for or not
    active_at: float = 0.0  # of the last step, in seconds of the monotonic clock

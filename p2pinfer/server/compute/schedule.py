"""Chooses the tokens of waiting steps that run in the next batch. Pure: no clock, no threads.

Decode steps of all sessions run together, whatever layers they run through, because they cost little more
than one. Prefill fills a budget beside them, in slices of the steps it comes from: a long document delays
other sessions' next tokens by no more than the budget takes. Where not everything fits, the client that was
served least goes first (start-time fair queueing, Goyal et al. 1996, by client and in tokens times layers):
ten sessions of one client share what one session of another client gets, and a token through three layers
counts a third of one through nine. Patient steps, for which nobody waits, count as prefill even if they
decode; of one client's steps they go last.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

MAX_BATCH_TOKENS = 512
MIN_PREFILL_TOKENS = 32
MOST_PATIENT_TOKENS = 128
"""Of patient steps in one batch: who comes while it runs waits for no more. Larger batches cost an engine as
much per token."""

STALL_SECONDS = 0.03
"""How long prefill may hold up sessions that are decoding; a token every 30 ms reads like speech."""

_MAX_REMEMBERED_CLIENTS = 1024


@dataclass(frozen=True, slots=True)
class Demand:
    """The tokens that a waiting step still needs. A reader waits for `urgent` steps."""

    client: bytes
    tokens: int
    urgent: bool
    layers: int  # that each of the tokens runs through
    token_seconds: float  # what one of them takes in a prefill, in all of its layers; above 0
    patient: bool = False  # nobody waits for it; never `urgent`

    @property
    def work(self) -> int:
        """Tokens times layers."""
        return self.tokens * self.layers


@dataclass(frozen=True, slots=True)
class PrefillBudget:
    """What the prefill in one batch may take."""

    tokens: int
    seconds: float  # but MIN_PREFILL_TOKENS always run: fewer cost nearly as much


class FairShares:
    """How much each client has had, in tokens times layers, for clients that had a step waiting lately."""

    def __init__(self) -> None:
        self._served: OrderedDict[bytes, float] = (
            OrderedDict()
        )  # the client that was charged last stands last
        self._now = 0.0  # what the client that was chosen last had had before it was charged

    def served(self, client: bytes) -> float:
        """What a client has had. After a pause it is as if it had kept up: idling earns nothing."""
        return max(self._served.get(client, 0.0), self._now)

    def charge(self, client: bytes, work: int) -> None:
        """Note that a client was given `work`, in tokens times layers."""
        before = self.served(client)
        self._now = before
        self._served[client] = before + work
        self._served.move_to_end(client)
        if len(self._served) > _MAX_REMEMBERED_CLIENTS:
            self._served.popitem(last=False)


def prefill_budget(*, decoding: bool, duty: float = 1.0) -> PrefillBudget:
    """Return what prefill may take of one batch, while sessions are decoding, through any layers, or not.

    With a `duty` below 1 a pause in proportion follows every batch, so batches are shorter.
    """
    tokens = max(MIN_PREFILL_TOKENS, int(MAX_BATCH_TOKENS * duty))
    return PrefillBudget(tokens, STALL_SECONDS * duty if decoding else inf)


def plan_batch(demands: Sequence[Demand], shares: FairShares, budget: PrefillBudget) -> list[int]:
    """Return how many tokens of each waiting step run now; `demands` are in order of arrival.

    At least one token is chosen. The shares are charged for what is chosen.
    """
    taken = [0] * len(demands)
    room, patient = MAX_BATCH_TOKENS, MOST_PATIENT_TOKENS
    prefill, seconds = 0, budget.seconds
    for index in _fair_order(demands, shares) if len(demands) > 1 else (0,):
        demand = demands[index]
        tokens = min(demand.tokens, room)
        if demand.patient:
            tokens = min(tokens, patient)
        if not demand.urgent:
            in_time = int(min(tokens, seconds / demand.token_seconds))
            tokens = min(tokens, max(in_time, MIN_PREFILL_TOKENS - prefill, 0), budget.tokens - prefill)
            prefill += tokens
            seconds -= tokens * demand.token_seconds
        room -= tokens
        patient -= tokens * demand.patient
        taken[index] = tokens
        if tokens:
            shares.charge(demand.client, tokens * demand.layers)
    return taken


def _fair_order(demands: Sequence[Demand], shares: FairShares) -> list[int]:
    """Return urgent steps first, then the clients that had least, counting the steps before in this order.

    Of one client's steps, those that aren't patient come before the others.
    """
    promised: dict[bytes, float] = {}
    keys = []
    for index, demand in sorted(enumerate(demands), key=lambda one: one[1].patient):
        before = promised.get(demand.client, shares.served(demand.client))
        promised[demand.client] = before + demand.work
        keys.append((not demand.urgent, before, index))
    return [index for *_, index in sorted(keys)]

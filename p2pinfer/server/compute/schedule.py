"""Which tokens of which waiting steps run in the next batch. Pure: no clock, no threads.

Decode steps of all sessions run together, for they cost little more than one. Prefill fills a budget
beside them, in slices of whatever step it comes from, so that a long document stalls nobody's next token
for longer than the budget takes. Where not everything fits, whoever was served least goes first (start-time
fair queueing, Goyal et al. 1996, by client and in tokens): ten sessions of one client share what one
session of another client gets.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

MAX_BATCH_TOKENS = 512
MIN_PREFILL_TOKENS = 32
STALL_SECONDS = 0.03
"""How long prefill may hold up sessions that are decoding; a token every 30 ms reads like speech."""

_MAX_REMEMBERED_CLIENTS = 1024


@dataclass(frozen=True, slots=True)
class Demand:
    """What one waiting step still wants; for `urgent` steps a reader waits."""

    client: bytes
    tokens: int
    urgent: bool


class FairShares:
    """How many tokens each client has had, among those that had something waiting lately."""

    def __init__(self) -> None:
        self._served: OrderedDict[bytes, float] = OrderedDict()  # whoever was charged last stands last
        self._now = 0.0  # what the client that was last chosen had had

    def served(self, client: bytes) -> float:
        """Tokens, as if whoever comes back after a pause had kept up: idling earns no credit."""
        return max(self._served.get(client, 0.0), self._now)

    def charge(self, client: bytes, tokens: int) -> None:
        """Note what a client's step was given."""
        before = self.served(client)
        self._now = before
        self._served[client] = before + tokens
        self._served.move_to_end(client)
        if len(self._served) > _MAX_REMEMBERED_CLIENTS:
            self._served.popitem(last=False)


def prefill_budget(*, tokens_per_second: float, decoding: bool, duty: float = 1.0) -> int:
    """Prefill tokens that may run in one batch, when sessions are decoding or not.

    With a `duty` below 1 every batch is followed by a pause in proportion, so batches are shorter.
    """
    tokens = min(MAX_BATCH_TOKENS, int(tokens_per_second * STALL_SECONDS)) if decoding else MAX_BATCH_TOKENS
    return max(MIN_PREFILL_TOKENS, int(tokens * duty))


def plan_batch(demands: Sequence[Demand], shares: FairShares, prefill_tokens: int) -> list[int]:
    """How many tokens of each waiting step run now; `demands` are in order of arrival.

    At least one token of one step is chosen, and the shares are charged for what was.
    """
    taken = [0] * len(demands)
    room = MAX_BATCH_TOKENS
    budget = prefill_tokens
    for index in _fair_order(demands, shares) if len(demands) > 1 else (0,):
        demand = demands[index]
        tokens = min(demand.tokens, room)
        if not demand.urgent:
            tokens = min(tokens, budget)
            budget -= tokens
        room -= tokens
        taken[index] = tokens
        if tokens:
            shares.charge(demand.client, tokens)
    return taken


def _fair_order(demands: Sequence[Demand], shares: FairShares) -> list[int]:
    """Decoding first; then whoever had least, counting what stands before it in this very order."""
    promised: dict[bytes, float] = {}
    keys = []
    for index, demand in enumerate(demands):
        before = promised.get(demand.client, shares.served(demand.client))
        promised[demand.client] = before + demand.tokens
        keys.append((not demand.urgent, before, index))
    return [index for *_, index in sorted(keys)]

"""Chooses the tokens of waiting steps that run in the next batch. Pure: no clock, no threads.

Decode steps of all sessions run together, because they cost little more than one. Prefill fills a budget
beside them, in slices of the steps it comes from: a long document delays other sessions' next tokens by no
more than the budget takes. Where not everything fits, the client that was served least goes first (start-time
fair queueing, Goyal et al. 1996, by client and in tokens): ten sessions of one client share what one session
of another client gets.
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
    """The tokens that a waiting step still needs. A reader waits for `urgent` steps."""

    client: bytes
    tokens: int
    urgent: bool


class FairShares:
    """How many tokens each client has had, for clients that had a step waiting lately."""

    def __init__(self) -> None:
        self._served: OrderedDict[bytes, float] = (
            OrderedDict()
        )  # the client that was charged last stands last
        self._now = 0.0  # the tokens of the client that was chosen last, before it was charged

    def served(self, client: bytes) -> float:
        """Tokens that a client has had. After a pause it is as if it had kept up: idling earns nothing."""
        return max(self._served.get(client, 0.0), self._now)

    def charge(self, client: bytes, tokens: int) -> None:
        """Note that a client's step was given `tokens` tokens."""
        before = self.served(client)
        self._now = before
        self._served[client] = before + tokens
        self._served.move_to_end(client)
        if len(self._served) > _MAX_REMEMBERED_CLIENTS:
            self._served.popitem(last=False)


def prefill_budget(*, tokens_per_second: float, decoding: bool, duty: float = 1.0) -> int:
    """Return how many prefill tokens may run in one batch, while sessions are decoding or not.

    With a `duty` below 1 a pause in proportion follows every batch, so batches are shorter.
    """
    tokens = min(MAX_BATCH_TOKENS, int(tokens_per_second * STALL_SECONDS)) if decoding else MAX_BATCH_TOKENS
    return max(MIN_PREFILL_TOKENS, int(tokens * duty))


def plan_batch(demands: Sequence[Demand], shares: FairShares, prefill_tokens: int) -> list[int]:
    """Return how many tokens of each waiting step run now; `demands` are in order of arrival.

    At least one token is chosen. The shares are charged for what is chosen.
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
    """Return urgent steps first, then the clients that had least, counting the steps before in this order."""
    promised: dict[bytes, float] = {}
    keys = []
    for index, demand in enumerate(demands):
        before = promised.get(demand.client, shares.served(demand.client))
        promised[demand.client] = before + demand.tokens
        keys.append((not demand.urgent, before, index))
    return [index for *_, index in sorted(keys)]

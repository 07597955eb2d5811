"""Chooses the tokens of waiting steps that run in the next batch. Pure: no clock, no threads.

Decode steps of all sessions run together, whatever layers they run through, because they cost little more
than one. Prefill fills a budget beside them, in slices of the steps it comes from: a long document delays
other sessions' next tokens by no more than the budget takes. Where not everything fits, who was served least
goes first (hierarchical start-time fair queueing, Goyal et al. 1996, in tokens times layers): first the
parties, which are the networks that known clients come from, and all strangers together; then, of the
strangers, their networks; then clients. So ten sessions of one client share what one session of another
client gets, a thousand fresh keys what one newcomer gets, and a token through three layers counts a third of
one through nine. Patient steps, for which nobody waits, count as prefill even if they decode; of one client's
steps they go last.

A batch takes as long as all of it. So while one of several parties decodes, none has more of a batch than a
step takes alone: whoever decodes keeps half of its speed beside any number of strangers, and its part of the
time beside others who are known. The same holds among the networks of strangers: a newcomer keeps half of its
speed beside a crowd from elsewhere.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from math import inf

MAX_BATCH_TOKENS = 512
MIN_PREFILL_TOKENS = 32
MOST_PATIENT_TOKENS = 128
"""Of patient steps in one batch: who comes while it runs waits for no more. Larger batches cost an engine as
much per token."""

STALL_SECONDS = 0.03
"""How long prefill may hold up sessions that are decoding; a token every 30 ms reads like speech."""

_MOST_REMEMBERED = 4096

_STRANGERS = "strangers"

_Path = tuple[tuple[Hashable, Hashable], ...]


@dataclass(frozen=True, slots=True)
class Demand:
    """The tokens that a waiting step still needs. A reader waits for `urgent` steps."""

    client: bytes
    tokens: int
    urgent: bool
    layers: int  # that each of the tokens runs through
    token_seconds: float  # what one of them takes in a prefill, in all of its layers; above 0
    patient: bool = False  # nobody waits for it; never `urgent`
    source: Hashable = None  # the network that the client comes from; None: a client without one stands alone
    is_known: bool = True

    @property
    def party(self) -> Hashable:
        """Who is served as one, before networks and clients are told apart."""
        if not self.is_known:
            return _STRANGERS
        return self.client if self.source is None else self.source

    @property
    def network(self) -> tuple[Hashable, Hashable]:
        """Its party, and the network within the party."""
        return self.party, self.source

    @property
    def path(self) -> _Path:
        """Party, network and client, each behind the whole that it is a part of."""
        party, network = (self.party,), self.network
        return ((), party), (party, network), (network, (*network, self.client))

    @property
    def work(self) -> int:
        """Tokens times layers."""
        return self.tokens * self.layers


@dataclass(frozen=True, slots=True)
class PrefillBudget:
    """What the prefill in one batch may take."""

    tokens: int
    seconds: float  # but MIN_PREFILL_TOKENS always run: fewer cost nearly as much
    party_seconds: float = inf  # what a step takes alone; inf: there is no more than one party
    network_seconds: float = inf  # the same; inf: there is no more than one network

    @property
    def has_rations(self) -> bool:
        """True if several share the engine, and one of them decodes."""
        return min(self.party_seconds, self.network_seconds) < inf


class FairShares:
    """How much each part of a whole has had, in tokens times layers, for those that had a step lately."""

    def __init__(self) -> None:
        self._served: OrderedDict[Hashable, float] = OrderedDict()  # who was charged last stands last
        self._now: OrderedDict[Hashable, float] = OrderedDict()
        """For each whole what the part that was chosen last had had before it was charged."""

    def served(self, whole: Hashable, part: Hashable) -> float:
        """What a part has had. After a pause it is as if it had kept up: idling earns nothing."""
        return max(self._served.get(part, 0.0), self._now.get(whole, 0.0))

    def charge(self, path: Sequence[tuple[Hashable, Hashable]], work: int) -> None:
        """Note that a part, in each whole of the path, was given `work`, in tokens times layers."""
        for whole, part in path:
            before = self.served(whole, part)
            _note(self._now, whole, before)
            _note(self._served, part, before + work)


def _note(figures: OrderedDict[Hashable, float], name: Hashable, value: float) -> None:
    figures[name] = value
    figures.move_to_end(name)
    if len(figures) > _MOST_REMEMBERED:
        figures.popitem(last=False)


def prefill_budget(
    *,
    decoding: bool,
    duty: float = 1.0,
    step_seconds: float = inf,
    networks: Collection[tuple[Hashable, Hashable]] = (),
) -> PrefillBudget:
    """Return what prefill may take of one batch, while sessions are decoding, through any layers, or not.

    With a `duty` below 1 a pause in proportion follows every batch, so batches are shorter. `step_seconds`
    is what a step takes alone; `networks`, with their parties, are those that share the engine.
    """
    tokens = max(MIN_PREFILL_TOKENS, int(MAX_BATCH_TOKENS * duty))
    return PrefillBudget(
        tokens,
        STALL_SECONDS * duty if decoding else inf,
        party_seconds=step_seconds if decoding and len({party for party, _ in networks}) > 1 else inf,
        network_seconds=step_seconds if decoding and len(networks) > 1 else inf,
    )


class Rations:
    """The time that parties and networks have left in one batch, where there are several."""

    def __init__(self, budget: PrefillBudget) -> None:
        self._budget = budget
        self._had: dict[Hashable, float] = {}

    def most(self, demand: Demand) -> int:
        """How many tokens of a step may run: one at least if it is the first of its party, or of its network
        where there is one party."""
        return min(
            self._most(demand, demand.party, self._budget.party_seconds),
            self._most(demand, demand.network, self._budget.network_seconds),
        )

    def take(self, demand: Demand, tokens: int) -> None:
        """So many of its tokens run."""
        if tokens:
            seconds = tokens * demand.token_seconds
            for name in (demand.party, demand.network):
                self._had[name] = self._had.get(name, 0.0) + seconds

    def _most(self, demand: Demand, name: Hashable, seconds: float) -> int:
        if seconds == inf:
            return demand.tokens
        had = self._had.get(name)
        if had is None:
            return max(1, int(seconds / demand.token_seconds))
        return max(0, int((seconds - had) / demand.token_seconds))


def plan_batch(demands: Sequence[Demand], shares: FairShares, budget: PrefillBudget) -> list[int]:
    """Return how many tokens of each waiting step run now; `demands` are in order of arrival.

    At least one token is chosen. The shares are charged for what is chosen.
    """
    taken = [0] * len(demands)
    room, patient = MAX_BATCH_TOKENS, MOST_PATIENT_TOKENS
    prefill, seconds = 0, budget.seconds
    rations = Rations(budget)
    order = _fair_order(demands, shares, is_rationed=budget.has_rations) if len(demands) > 1 else [0]
    for index in order:
        demand = demands[index]
        tokens = min(demand.tokens, room)
        if demand.patient:
            tokens = min(tokens, patient)
        tokens = min(tokens, rations.most(demand))
        if not demand.urgent:
            in_time = int(min(tokens, seconds / demand.token_seconds))
            tokens = min(tokens, max(in_time, MIN_PREFILL_TOKENS - prefill, 0), budget.tokens - prefill)
            prefill += tokens
            seconds -= tokens * demand.token_seconds
        rations.take(demand, tokens)
        room -= tokens
        patient -= tokens * demand.patient
        taken[index] = tokens
        if tokens:
            shares.charge(demand.path, tokens * demand.layers)
    return taken


def _fair_order(demands: Sequence[Demand], shares: FairShares, *, is_rationed: bool) -> list[int]:
    """Return the steps of who had least first, counting the steps before in this order.

    Urgent steps come before all others. Where parties have rations, only before those of their own client:
    else the decode steps of a crowd would use up their party's ration for ever. Of one client's steps, those
    that aren't patient come before the others.
    """
    in_order = sorted(range(len(demands)), key=lambda index: demands[index].patient)
    promised: dict[Hashable, float] = {}
    first = [index for index in in_order if demands[index].urgent]
    then = [index for index in in_order if not demands[index].urgent]
    order = []
    for indices in ([*first, *then],) if is_rationed else (first, then):
        waiting = [(index, demands[index].work, demands[index].path) for index in indices]
        order += _merged(waiting, 0, shares, promised)
    return order


def _merged(
    waiting: Sequence[tuple[int, int, _Path]], level: int, shares: FairShares, promised: dict[Hashable, float]
) -> list[int]:
    """Order the steps of one whole, by what each of its parts has had. `promised` is what they had, with
    what was ordered before."""
    if not waiting or level == len(waiting[0][2]):
        return [index for index, *_ in waiting]
    parts: dict[tuple[Hashable, Hashable], list[tuple[int, int, _Path]]] = {}
    for one in waiting:
        parts.setdefault(one[2][level], []).append(one)
    works = {index: work for index, work, _ in waiting}
    places = {index: place for place, (index, *_) in enumerate(waiting)}
    keys = []
    for (whole, part), of_part in parts.items():
        before = promised.get(part)
        before = shares.served(whole, part) if before is None else before
        for index in _merged(of_part, level + 1, shares, promised):
            keys.append((before, places[index], index))
            before += works[index]
        promised[part] = before
    return [index for *_, index in sorted(keys)]

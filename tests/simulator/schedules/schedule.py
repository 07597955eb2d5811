"""A schedule: what a seed stands for."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from itertools import pairwise

from p2pinfer.types import Span
from tests.simulator.network.network import Wires
from tests.simulator.schedules.faults import KINDS, Fault, Moment
from tests.simulator.schedules.script import LEASED_TOKENS, Act, Script
from tests.simulator.server.server import ServerShape

_EVENTS = (
    "computes", "computes", "computes", "Session", "SetUpstream", "SetDownstream", "Progress", "accepts lane",
)  # fmt: skip
_WEIGHTS = {"kill": 5, "stop": 4, "drain": 4, "cut": 3, "one-way": 3, "reset": 3, "vanish": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A swarm, its clients, and their faults. `route_seconds` is how long clients wait for missing layers."""

    seed: int
    wires: Wires = field(default_factory=Wires)
    servers: tuple[ServerShape, ...]
    scripts: tuple[Script, ...] = (Script(),)
    faults: tuple[Fault, ...] = ()
    route_seconds: float = 60.0

    @property
    def scarce(self) -> bool:
        """True if some server can't hold all sessions at once."""
        leased = sum(script.rows for script in self.scripts) * LEASED_TOKENS
        return any(server.cache_tokens < leased for server in self.servers)

    def __str__(self) -> str:
        servers = " ".join(str(server.layers) for server in self.servers)
        return "\n".join(
            [f"seed {self.seed}: servers {servers}", *map(str, self.scripts), *map(str, self.faults)]
        )


def schedule_of(seed: int) -> Schedule:
    """The schedule of a seed, the same on every machine."""
    chance = random.Random(f"schedule {seed}")
    num_layers = chance.choice((3, 4, 6))
    return Schedule(
        seed=seed,
        wires=Wires(
            delay_seconds=chance.choice((0.001, 0.01, 0.04, 0.1)),
            jitter_seconds=chance.choice((0.0, 0.005, 0.02)),
            bytes_per_second=chance.choice((20_000.0, 1e6, 1e9)),
            capacity_bytes=chance.choice((300, 2_000, 65_536)),
        ),
        servers=_servers(chance, num_layers),
        scripts=tuple(_script(chance) for _ in range(chance.choice((1, 1, 1, 2, 3)))),
        faults=tuple(_fault(chance) for _ in range(chance.choice((1, 1, 2, 2, 3, 4, 5)))),
        route_seconds=chance.choice((60.0, 60.0, 60.0, 5.0)),
    )


def _servers(chance: random.Random, num_layers: int) -> tuple[ServerShape, ...]:
    """Two to four stages with one to three servers each, and sometimes a server across stages."""
    stages = chance.randint(2, min(4, num_layers))
    cuts = [0, *sorted(chance.sample(range(1, num_layers), stages - 1)), num_layers]
    spans = [Span(start, end) for start, end in pairwise(cuts) for _ in range(chance.choice((1, 2, 2, 3)))]
    cache_tokens = chance.choice((100_000,) * 9 + (3_200,))
    for _ in range(chance.choice((0, 0, 1, 2))):
        start = chance.randrange(num_layers)
        spans.append(Span(start, chance.randint(start + 1, num_layers)))
    return tuple(
        ServerShape(
            layers=span,
            num_layers=num_layers,
            seconds_per_layer=chance.choice((0.002, 0.01, 0.03)),
            seconds_per_layer_token=chance.choice((0.0001, 0.0005)),
            cache_tokens=cache_tokens,
        )
        for span in spans
    )


def _script(chance: random.Random) -> Script:
    acts = [Act(decode=chance.randint(3, 15), wanted=chance.choice((1, 1, 1, 5)))]
    for _ in range(chance.choice((0, 1, 2))):
        acts.append(
            Act(
                keep=chance.choice((-1, -1, chance.randint(1, 60))),
                add=chance.choice((1, 5, chance.randint(1, 150))),
                decode=chance.randint(0, 8),
                pause_seconds=chance.choice((0.0, 0.0, chance.uniform(0.1, 5.0))),
            )
        )
    return Script(
        starts_at=chance.choice((0.0, chance.uniform(0.0, 2.0))),
        rows=chance.choice((1, 1, 1, 2, 3)),
        prompt_tokens=chance.choice((chance.randint(1, 30), chance.randint(30, 400))),
        acts=tuple(acts),
        seed=chance.randrange(2**32),
    )


def with_forks(schedule: Schedule) -> Schedule:
    """The same schedule with sessions of several rows, which are forked again and again."""
    chance = random.Random(f"forks {schedule.seed}")
    return replace(schedule, scripts=tuple(_forked(script, chance) for script in schedule.scripts))


def _forked(script: Script, chance: random.Random) -> Script:
    acts = [*script.acts]
    for _ in range(chance.randint(1, 4)):
        acts.append(
            Act(
                keep=chance.choice((-1, -1, chance.randint(1, 60))),
                add=chance.choice((0, 1, 5, chance.randint(1, 150))),
                wanted=chance.choice((1, 1, 1, 5)),
                decode=chance.randint(0, 8),
                pause_seconds=chance.choice((0.0, 0.0, chance.uniform(0.1, 5.0))),
                fork=True,
                waits=chance.random() < 0.3,
            )
        )
    return replace(script, rows=chance.randint(2, 4), acts=tuple(acts))


def _fault(chance: random.Random) -> Fault:
    kind = chance.choices(KINDS, [_WEIGHTS.get(kind, 1) for kind in KINDS])[0]
    if chance.random() < 0.5:
        when = Moment(event=chance.choice(_EVENTS), count=int(chance.expovariate(1 / 20)) + 1)
    else:
        when = Moment(seconds=chance.uniform(0.1, 6.0))
    return Fault(
        kind=kind,
        when=when,
        seconds=chance.choice((chance.uniform(0.1, 2.0), chance.uniform(1.0, 25.0))),
        target=chance.choice(("busy", "busy", "busy", "spare", *(("here",) * 2 if when.event else ()))),
        strength=chance.choice((5.0, 30.0)),
    )

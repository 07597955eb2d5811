"""Runs bench_hostile: for each attack a new town, an honest client at work, and the attacker as a process."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2pinfer.errors import P2PInferError
from p2pinfer.folders import user_cache_folder
from p2pinfer.local_swarm.default_model import SMOLLM2, fetch_model_file
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.model.source import open_model
from scripts.benchmarks.hostile.figures import Line
from scripts.benchmarks.hostile.plan import ATTACKS, sources
from scripts.benchmarks.hostile.table import HEADING, figures_line
from scripts.benchmarks.hostile.town import Town
from scripts.benchmarks.shared.child import ChildError
from scripts.benchmarks.shared.host_process import HostProcess
from scripts.benchmarks.shared.prompts import question
from scripts.benchmarks.shared.report import machine, say

NEWCOMER_SECONDS = 20.0
"""How long the attack goes on for the client that has come meanwhile, until its first token."""

KNOWN_ANSWERS = 7
"""That the honest client has before the attack: with their prompts they make it known to the servers, which
takes 512 tokens that it has signed for. The client that comes during the attack is a stranger."""

_ATTACKER = "scripts.benchmarks.hostile.attacker"
_NICE = ("nice", "-n", "10")
"""The attacker gets what the servers leave: what it hurts, it hurts by what they do for it."""
_BEGIN_SECONDS = 90.0
_END_SECONDS = 30.0
_NEWCOMER_TOKENS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings from the command line."""

    rounds: tuple[tuple[str, int], ...]  # attack, addresses
    warm_up_seconds: float
    before_seconds: float
    seconds: float
    after_seconds: float
    logs: Path | None


def measure(settings: Settings, measured: dict[str, Any]) -> None:
    """Run every round, and put what it found into `measured`. Raises P2PInferError without a model."""
    store = open_model(
        str(fetch_model_file(SMOLLM2, user_cache_folder(), progress=say)),
        cache_folder=user_cache_folder(),
        progress=say,
    )
    measured |= {
        "model": store.manifest.name,
        "machine": machine(),
        "seconds": settings.seconds,
        "rounds": [],
        "failures": [],
    }
    say(f"  {HEADING}")
    for number, (name, addresses) in enumerate(settings.rounds, 1):
        plural = "" if addresses == 1 else "es"
        say(f"{number} of {len(settings.rounds)}: {name}, {addresses} address{plural}")
        try:
            found = one_round(settings, store, name, addresses)
        except P2PInferError as error:  # the others still tell something
            say(f"  failed: {error}")
            measured["failures"].append(f"{name} ({addresses}): {error}")
            continue
        measured["rounds"].append(found)
        say(f"  {figures_line(Line.of(found))}")


def one_round(settings: Settings, store: LayerStore, name: str, addresses: int) -> dict[str, Any]:
    """One attack, and everything that was seen of it. Times are time.monotonic()."""
    logs = None if settings.logs is None else settings.logs / f"{name}-{addresses}"
    if logs is not None:
        logs.mkdir(parents=True, exist_ok=True)
    attack = ATTACKS[name]
    with (
        Town(store, question(store), logs, is_tunnelled=attack.is_tunnelled) as town,
        ExitStack() as stack,
    ):
        honest, newcomer = town.client("honest"), town.client("newcomer", _NEWCOMER_TOKENS)
        for client in (honest, newcomer):
            client.wait("ready", _BEGIN_SECONDS)
        honest.process.tell(go=True)
        if honest.wait("done", _BEGIN_SECONDS, times=KNOWN_ANSWERS) is None:
            raise ChildError(
                f"the honest client has no answer before the attack; {honest.process.last_words()}"
            )
        time.sleep(settings.warm_up_seconds)
        before = time.monotonic()
        time.sleep(settings.before_seconds)
        starting = time.monotonic()
        attacker = stack.enter_context(
            HostProcess(
                _ATTACKER,
                town.victims()
                | {
                    "attack": name,
                    "numbers": dict(attack.numbers),
                    "sources": sources(addresses),
                },
                prefix=_NICE,
                log=None if logs is None else logs / "attacker.log",
            )
        )
        began = attacker.hear_next(_BEGIN_SECONDS)["at"]
        time.sleep(settings.seconds)
        counted = time.monotonic()
        newcomer.process.tell(go=True)
        first = newcomer.wait("token", NEWCOMER_SECONDS)
        ended = time.monotonic()
        attacker.tell(enough=True)
        report = attacker.hear_next(_END_SECONDS) | {"seconds": ended - began}
        newcomer.process.close()
        time.sleep(settings.after_seconds)
        refusals = honest.heard()
        for reason, count in newcomer.heard().items():
            refusals[reason] = refusals.get(reason, 0) + count
        return {
            "attack": name,
            "addresses": addresses,
            "before": before,
            "starting": began - starting,
            "began": began,
            "counted": counted,
            "ended": ended,
            "honest": list(honest.events),
            "newcomer": list(newcomer.events),
            "first_token_seconds": None if first is None else first["at"] - counted,
            "honest_refusals": refusals,
            "attacker": report,
            **town.as_json(),
        }

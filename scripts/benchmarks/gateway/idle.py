"""What silent connections cost: memory, and time to a chat's first token."""

from __future__ import annotations

import resource
import statistics
from typing import Any

from p2pinfer.errors import UsageError
from scripts.benchmarks.gateway.connections import Silent, ask_all
from scripts.benchmarks.gateway.plan import Json, Sizes, chat_request, question
from scripts.benchmarks.gateway.process import GatewayProcess
from scripts.benchmarks.shared.report import say

_TOKENS = 8
_SPARE_FILES = 200
_FIRST_NUMBER = 7000  # of questions that no other part asks


async def measure_idle(gateway: GatewayProcess, model: str, sizes: Sizes) -> dict[str, Any]:
    """In rounds: chats one after the other, without and then beside the connections.

    Raises UsageError where this process can't open so many.
    """
    _allow_files(sizes.connections + _SPARE_FILES)
    rounds = []
    number = _FIRST_NUMBER
    for round_number in range(sizes.rounds + 1):
        say(f"idle: round {round_number} of {sizes.rounds}" + (" (warm-up)" if round_number == 0 else ""))
        before = gateway.megabytes()
        without = await _first_seconds(gateway.port, model, number, sizes.probes)
        async with Silent(gateway.port, sizes.connections) as silent:
            opened = gateway.megabytes()
            beside = await _first_seconds(gateway.port, model, number + sizes.probes, sizes.probes)
            alive = silent.alive
        number += 2 * sizes.probes
        rounds.append(
            {
                "megabytes": [before, opened],
                "alive": alive,
                "first_seconds": [statistics.median(without), statistics.median(beside)],
            }
        )
    return {"connections": sizes.connections, "probes": sizes.probes, "rounds": rounds}


async def _first_seconds(port: int, model: str, number: int, chats: int) -> list[float]:
    """The times to a first token of chats, one after the other."""
    found = []
    for place in range(chats):
        body: Json = chat_request(model, question(number + place), tokens=_TOKENS, temperature=0.0, seed=0)
        (timed,) = await ask_all(port, [body])
        found.append(timed.first_seconds)
    return found


def _allow_files(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise UsageError(f"{wanted} open files are needed, and this system allows {hard}: see `ulimit -Hn`")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

"""Contenders that are alive together and take turns, and the swarms whose clients they are."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from p2pinfer.folders import user_cache_folder
from p2pinfer.local_swarm.shares import split_layers
from p2pinfer.local_swarm.swarm import LocalSwarm
from p2pinfer.model.layer_store.store import LayerStore
from scripts.benchmarks.contenders.llama.q8_model import q8_model
from scripts.benchmarks.contenders.turns import Contender, Runs, Turn, take_turns
from scripts.benchmarks.shared.child import ChildError
from scripts.benchmarks.shared.idleness import busy_cores
from scripts.benchmarks.shared.report import say

QUIET_SECONDS = 0.5
GET_LLAMA_CPP = (
    "llama.cpp is left out: `scripts/setup bench` installs llama-cpp-python, which compiles for ten minutes"
)


class Stage:
    """Contenders that are alive together, and the swarms whose clients they are."""

    def __init__(self, stack: ExitStack) -> None:
        self.contenders: dict[str, Contender] = {}
        self.swarms: dict[str, LocalSwarm] = {}
        self._stack = stack

    def enter(self, name: str, kind: str, **parameters: Any) -> None:
        """Load one contender."""
        say(f"loading: {name}")
        self.contenders[name] = self._stack.enter_context(Contender(kind, **parameters))

    def enter_swarm(
        self, name: str, kind: str, store: LayerStore, peers: int, *, server_arguments: Sequence[str] = ()
    ) -> None:
        """Start the servers of a swarm and their client."""
        swarm = self.swarms[name] = self._stack.enter_context(LocalSwarm())
        layers = split_layers(store.manifest.num_layers, peers)
        swarm.start(store.folder, layers, server_arguments=server_arguments)
        self.enter(name, kind, store=str(store.folder), initial_peers=swarm.initial_peers)

    def enter_llama_cpp(self, name: str, kind: str, model_file: Path) -> str | None:
        """Load llama.cpp, or report in one line why it can't be used."""
        if importlib.util.find_spec("llama_cpp") is None:
            say(GET_LLAMA_CPP)
            return GET_LLAMA_CPP
        q8_file = q8_model(model_file, user_cache_folder(), progress=say)
        try:
            self.enter(name, kind, q8_file=str(q8_file))
        except ChildError as error:
            reason = f"llama.cpp is left out: {str(error).splitlines()[-1]}"
            say(reason)
            return reason
        return None

    def take_turns(self, turns: Sequence[Turn], repetitions: int, busy: list[float]) -> Runs:
        """Run all rounds; `busy` collects the cores that were at work while all contenders waited."""
        return take_turns(
            self.contenders,
            turns,
            repetitions=repetitions,
            progress=say,
            before_round=lambda: busy.append(busy_cores(QUIET_SECONDS)),
        )

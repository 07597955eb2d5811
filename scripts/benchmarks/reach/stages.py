"""Runs bench_reach: an open swarm for comparison, and one after the other the swarms behind routers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from p2pinfer.errors import SwarmError
from p2pinfer.folders import user_cache_folder
from p2pinfer.local_swarm.default_model import SMOLLM2, fetch_model_file
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.model.source import open_model
from scripts.benchmarks.reach.first_answer import first_answer
from scripts.benchmarks.reach.members import Members
from scripts.benchmarks.reach.places import settle
from scripts.benchmarks.reach.plan import MOVE_TOKENS, OPEN, Pair
from scripts.benchmarks.reach.relay_kills import measure_kills
from scripts.benchmarks.reach.visitor import Answer, NoAnswerError, Visitor
from scripts.benchmarks.shared import prompts
from scripts.benchmarks.shared.child import ChildError
from scripts.benchmarks.shared.report import machine, say
from scripts.lab import PROFILES, WanLab

MOVE_PAIR = Pair(server="home", client="home")
KILL_PAIR = Pair(server="udp-blocked", client="udp-blocked")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings from the command line."""

    parts: frozenset[str]
    pairs: tuple[Pair, ...]
    profile: str
    num_tokens: int
    repetitions: int
    kills: int
    seed: int
    logs: Path | None


class Bench:
    """A lab with the open swarm and its client, which every pair of homes is compared with."""

    def __init__(self, settings: Settings, store: LayerStore, lab: WanLab, stack: ExitStack) -> None:
        self.settings, self.store, self.lab = settings, store, lab
        self.link = PROFILES[settings.profile]
        self.prompt = prompts.question(store)
        self._labs = 0
        say("the open swarm, for comparison")
        members, self._open = stack.enter_context(self.swarm(Pair(server=OPEN, client=OPEN), "open"))
        self._open.join()
        self.expected = self._open.answer(self.prompt, self._longest()).tokens
        self.open_ready_seconds = members.ready_seconds

    @contextmanager
    def swarm(self, pair: Pair, name: str) -> Iterator[tuple[Members, Visitor]]:
        """A swarm behind one kind of router, and a client that has just been started behind another."""
        with Members(self.lab, name, self.link) as members:
            home = settle(self.lab, f"{name}-client", self.link, pair.client)
            try:
                members.start(self.store, pair.server)
                logs = self.settings.logs
                log = None if logs is None else logs / f"{name}-client.log"
                with Visitor(self.store, members.initial_peers, home.prefix, log) as visitor:
                    yield members, visitor
            finally:
                self._keep_words(members)

    def compare(self, pair: Pair) -> dict[str, Any]:
        """One line of the table."""
        found: dict[str, Any] = asdict(pair) | {"open": [], "rounds": []}
        try:
            with self.swarm(pair, self._name(pair)) as (members, visitor):
                found["ready_seconds"] = members.ready_seconds
                found["joined_seconds"] = visitor.join()
                found |= first_answer(visitor, self.prompt)
                for _ in range(self.settings.repetitions):
                    found["open"].append(self._rate(self._open))
                    found["rounds"].append(self._rate(visitor))
                    self.lab.check()
        except (SwarmError, ChildError, NoAnswerError) as error:
            say(f"  {pair}: {error}")
            found["error"] = str(error)
        return found

    def move(self) -> dict[str, Any]:
        """One long answer, from the client's start on."""
        try:
            with self.swarm(MOVE_PAIR, self._name(MOVE_PAIR)) as (_, visitor):
                visitor.join()
                answer = visitor.answer(self.prompt, MOVE_TOKENS)
                return self._judged(answer) | {"started_at": visitor.started_at}
        except (SwarmError, ChildError, NoAnswerError) as error:
            return {"error": str(error)}

    def kills(self) -> dict[str, Any]:
        """Answers over a relay that is killed in the middle of them."""
        try:
            with self.swarm(KILL_PAIR, self._name(KILL_PAIR)) as (members, visitor):
                visitor.join()
                answers = measure_kills(self.lab, members, visitor, self.prompt, self.settings.kills)
                return {"rounds": [killed | self._judged(answer) for killed, answer in answers]}
        except (SwarmError, ChildError, NoAnswerError) as error:
            return {"error": str(error)}

    def _judged(self, answer: Answer) -> dict[str, Any]:
        expected = self.expected[: len(answer.tokens)]
        return asdict(answer) | {"identical": answer.tokens == expected}

    def _rate(self, visitor: Visitor) -> dict[str, Any]:
        answer = visitor.answer(self.prompt, self.settings.num_tokens)
        return {
            "tokens_per_second": answer.tokens_per_second,
            "ways": answer.ways[-1],
            "longest_gap": max(answer.gaps),
            "identical": answer.tokens == self.expected[: len(answer.tokens)],
            "replaced_hops": answer.replaced_hops,
        }

    def _longest(self) -> int:
        return MOVE_TOKENS if "move" in self.settings.parts else max(60, self.settings.num_tokens)

    def _name(self, pair: Pair) -> str:
        self._labs += 1
        return f"{self._labs}-{pair.server}-{pair.client}"

    def _keep_words(self, members: Members) -> None:
        if self.settings.logs is not None:
            for name, lines in members.last_words().items():
                (self.settings.logs / f"{name}.log").write_text("\n".join(lines))


def measure(settings: Settings, measured: dict[str, Any]) -> None:
    """Run every part, and put its numbers into `measured` as soon as they are there.

    Raises LabUnavailableError where there can be no lab.
    """
    store = open_model(
        str(fetch_model_file(SMOLLM2, user_cache_folder(), progress=say)),
        cache_folder=user_cache_folder(),
        progress=say,
    )
    measured |= {
        "model": store.manifest.name,
        "machine": machine(),
        "profile": settings.profile,
        "num_tokens": settings.num_tokens,
        "repetitions": settings.repetitions,
        "table": [],
    }
    with ExitStack() as stack:
        lab = stack.enter_context(WanLab(seed=settings.seed))
        bench = Bench(settings, store, lab, stack)
        measured["open_ready_seconds"] = bench.open_ready_seconds
        if "table" in settings.parts:
            for number, pair in enumerate(settings.pairs, 1):
                say(f"{number} of {len(settings.pairs)}: servers {pair.server}, client {pair.client}")
                measured["table"].append(bench.compare(pair))
        if "move" in settings.parts:
            say(f"a session that moves: {MOVE_PAIR}")
            measured["move"] = bench.move()
        if "relay-killed" in settings.parts:
            say(f"relays are killed: {KILL_PAIR}")
            measured["relay-killed"] = bench.kills()

"""Runs the stages of bench_throughput: contenders that are alive together take turns, then idle."""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from p2pinfer.folders import user_cache_folder
from p2pinfer.local_swarm.default_model import SMOLLM2, fetch_model_file
from p2pinfer.model.engine.native.library import default_threads
from p2pinfer.model.source import open_model
from scripts.benchmarks.contenders.stage import Stage
from scripts.benchmarks.contenders.turns import Runs
from scripts.benchmarks.shared import prompts
from scripts.benchmarks.shared.idleness import idle_shares
from scripts.benchmarks.shared.report import machine, say
from scripts.benchmarks.throughput.plan import (
    BATCHES,
    BF16,
    IDLE_STATES,
    LLAMA_CPP,
    MEMORY,
    ONE_PROCESS,
    PEERS,
    PREFILL_TOKENS,
    SIX_PEERS,
    THREE_PEERS,
    contenders_of,
    large_turns,
    turns_of,
)
from scripts.benchmarks.throughput.random_llama import bytes_read_per_token, random_llama_store

MEMORY_MEGABYTES = 512  # far more than a processor's caches hold
LARGE_PROMPT_TOKENS = 16
SETTLING_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings from the command line."""

    parts: frozenset[str]
    num_tokens: int
    repetitions: int
    idle_seconds: float


def measure(settings: Settings) -> dict[str, Any]:
    """Run every part and return all numbers."""
    measured: dict[str, Any] = {
        "machine": machine(),
        "num_tokens": settings.num_tokens,
        "prefill_tokens": PREFILL_TOKENS,
        "repetitions": settings.repetitions,
        "idle_seconds": settings.idle_seconds,
        "busy_cores": [],  # one value before every round, while all contenders wait
        "model": None,
        "large": None,
        "left_out": None,
        "runs": {},
        "idle": {},
    }
    if settings.parts - {"large"}:
        measured |= measure_small(settings, measured["busy_cores"])
    if "large" in settings.parts:
        runs, measured["large"] = measure_large(settings, measured["busy_cores"])
        measured["runs"] |= runs
    return measured


def measure_small(settings: Settings, busy: list[float]) -> dict[str, Any]:
    """Measure the real model: everything but bandwidth."""
    model_file = fetch_model_file(SMOLLM2, user_cache_folder(), progress=say)
    store = open_model(str(model_file), cache_folder=user_cache_folder(), progress=say)
    needed = contenders_of(settings.parts)
    left_out = None
    with ExitStack() as stack:
        stage = Stage(stack)
        if LLAMA_CPP in needed:
            left_out = stage.enter_llama_cpp(LLAMA_CPP, "llama.streams", model_file)
        if BF16 in needed:
            stage.enter(BF16, "transformers", model_file=str(model_file), dtype="bfloat16")
        if ONE_PROCESS in needed:
            stage.enter(ONE_PROCESS, "engine", store=str(store.folder))
        for name, peers in ((THREE_PEERS, PEERS), (SIX_PEERS, 2 * PEERS)):
            if name in needed:
                stage.enter_swarm(name, "swarm", store, peers)
        questions = prompts.questions(store, max(BATCHES))
        long_prompt = prompts.long_text(store, PREFILL_TOKENS)
        turns = [
            turn
            for turn in turns_of(settings.parts, questions, long_prompt, settings.num_tokens)
            if turn.contender in stage.contenders
        ]
        runs = stage.take_turns(turns, settings.repetitions, busy)
        idle = measure_idle(stage, questions[0], settings.idle_seconds) if "idle" in settings.parts else {}
    return {
        "model": store.manifest.name,
        "left_out": left_out,
        "runs": without_tokens(runs),
        "idle": idle,
    }


def measure_idle(stage: Stage, prompt: list[int], seconds: float) -> dict[str, Any]:
    """The cost of the three peers while a client holds a session, and after the client has left."""
    say(f"measuring idle servers, {seconds:.0f} s twice")
    servers = {str(server.layers): server.pid for server in stage.swarms[THREE_PEERS].servers}
    client = stage.contenders.pop(THREE_PEERS)
    client.ask("hold", prompt=prompt)
    with_client, alone = IDLE_STATES
    idle = {with_client: _shares(stage, servers, seconds)}
    client.close()
    idle[alone] = _shares(stage, servers, seconds)
    return idle


def _shares(stage: Stage, servers: dict[str, int], seconds: float) -> dict[str, Any]:
    time.sleep(SETTLING_SECONDS)
    waiting = {name: contender.process.pid for name, contender in stage.contenders.items()}
    shares = idle_shares(servers | waiting, seconds)
    return {
        "servers": {name: shares[name] for name in servers},
        "contenders": {name: shares[name] for name in waiting},
    }


def measure_large(settings: Settings, busy: list[float]) -> tuple[Runs, dict[str, Any]]:
    """Measure the random model: alone, in a swarm, and how fast memory is read."""
    store = random_llama_store(user_cache_folder(), progress=say)
    threads = default_threads()
    with ExitStack() as stack:
        stage = Stage(stack)
        stage.enter(MEMORY, "memory", megabytes=MEMORY_MEGABYTES, threads=threads)
        stage.enter(ONE_PROCESS, "engine", store=str(store.folder))
        stage.enter_swarm(THREE_PEERS, "swarm", store, PEERS)
        turns = large_turns(prompts.random_ids(store, LARGE_PROMPT_TOKENS), settings.num_tokens)
        runs = stage.take_turns(turns, settings.repetitions, busy)
    return without_tokens(runs), {
        "model": store.manifest.name,
        "bytes_per_token": bytes_read_per_token(store),
        "threads": threads,
    }


def without_tokens(runs: Runs) -> Runs:
    """Keep the number of streams and a hash of the generated tokens: equal texts have equal hashes."""
    for by_contender in runs.values():
        for answers in by_contender.values():
            for answer in answers:
                tokens = answer.pop("tokens", [])
                answer["streams"] = len(tokens)
                answer["text"] = hashlib.sha256(json.dumps(tokens).encode()).hexdigest()[:16]
    return runs

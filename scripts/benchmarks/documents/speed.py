"""Documents/s through three peers, with and without reuse, beside llama.cpp's own batching."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import psutil

from p2pinfer.client.batching.row_pool import PoolLimits
from p2pinfer.model.engine.native.library import default_threads
from p2pinfer.model.layer_store.store import LayerStore
from scripts.benchmarks.contenders.stage import QUIET_SECONDS, Stage
from scripts.benchmarks.documents.corpus import ANSWER_TOKENS, INSTRUCTION_TOKENS, Corpus
from scripts.benchmarks.documents.plan import (
    LLAMA_CPP,
    LLAMA_CPP_SHARED,
    PEERS,
    SERVER_CACHE_TOKENS,
    THREE_PEERS,
    WITHOUT_REUSE,
    LlamaSettings,
    Sizes,
    llama_trials,
    numbers,
    turns,
)
from scripts.benchmarks.shared.idleness import busy_cores
from scripts.benchmarks.shared.report import say

_WARM_UP = 8
_TUNING_ROUND, _WARM_UP_ROUND = 9_000, 90_000  # their documents are asked nowhere else

Answer = dict[str, Any]


def measure_speed(model_file: Path, store: LayerStore, corpus: Corpus, sizes: Sizes) -> dict[str, Any]:
    """All rounds, after some documents that aren't counted. Runs by contender, in the order of the rounds."""
    runs: dict[str, list[Answer]] = {}
    busy: list[float] = []
    with ExitStack() as stack:
        stage = Stage(stack)
        left_out = stage.enter_llama_cpp(LLAMA_CPP, "llama.documents", model_file)
        stage.enter_swarm(
            THREE_PEERS,
            "texts",
            store,
            PEERS,
            server_arguments=("--max-cache-tokens", str(SERVER_CACHE_TOKENS)),
        )
        tuning: list[dict[str, Any]] = []
        work = _works(stage, lambda settings: _llama(stage, settings, tuning, corpus, sizes))
        warming = corpus.prompts(numbers(_WARM_UP_ROUND, _WARM_UP))
        for contender in work:
            say(f"speed: warming up {contender}")
            work[contender](warming)
        for number in range(sizes.rounds):
            busy.append(busy_cores(QUIET_SECONDS))
            say(f"speed: round {number + 1} of {sizes.rounds}")
            prompts = corpus.prompts(numbers(number, sizes.documents))
            for contender in turns(number, list(work)):
                answer = without_tokens(work[contender](prompts))
                say(f"  {contender}: {len(prompts) / answer['seconds']:.2f} documents/s")
                runs.setdefault(contender, []).append(answer)
    return {"runs": runs, "tuning": tuning, "busy_cores": busy, "left_out": left_out}


def _works(
    stage: Stage, llama: Callable[[int], Callable[[list[list[int]]], Answer]]
) -> dict[str, Callable[[list[list[int]]], Answer]]:
    """What each contender does with the documents of a round."""

    def peers(reuses: bool) -> Callable[[list[list[int]]], Answer]:
        def answer(prompts: list[list[int]]) -> Answer:
            servers = [server.pid for server in stage.swarms[THREE_PEERS].servers]
            before = cpu_seconds(servers)
            answer = stage.contenders[THREE_PEERS].ask(
                "answer", prompts=prompts, tokens=ANSWER_TOKENS, limits=reuse_limits(reuses)
            )
            return answer | {"servers_cpu_seconds": cpu_seconds(servers) - before}

        return answer

    works = {THREE_PEERS: peers(True)}
    if can_do_without_reuse():
        works[WITHOUT_REUSE] = peers(False)
    if LLAMA_CPP in stage.contenders:
        works |= {LLAMA_CPP: llama(0), LLAMA_CPP_SHARED: llama(INSTRUCTION_TOKENS)}
    return works


def _llama(
    stage: Stage, shared: int, tuning: list[dict[str, Any]], corpus: Corpus, sizes: Sizes
) -> Callable[[list[list[int]]], Answer]:
    """llama.cpp's contender with the settings that are fastest here."""
    prompts = corpus.prompts(numbers(_TUNING_ROUND, sizes.tuning_documents))
    ask = stage.contenders[LLAMA_CPP].ask

    def answer(prompts: list[list[int]], settings: LlamaSettings) -> Answer:
        return ask("answer", prompts=prompts, tokens=ANSWER_TOKENS, shared=shared, **asdict(settings))

    best = LlamaSettings(threads=default_threads())
    tried: dict[LlamaSettings, float] = {}
    for choices in llama_trials(default_threads()) if prompts else ():
        for settings in (replace(best, **choice) for choice in choices):
            if settings not in tried:
                tried[settings] = len(prompts) / answer(prompts, settings)["seconds"]
                say(f"  llama.cpp, {shared} tokens shared: {tried[settings]:.2f} documents/s with {settings}")
        best = max(tried, key=lambda settings: tried[settings])
    tuning += [
        {"shared": shared, "documents_per_second": rate, **asdict(settings)}
        for settings, rate in tried.items()
    ]
    return lambda prompts: answer(prompts, best)


def can_do_without_reuse() -> bool:
    """Whether this version can be told to reuse nothing."""
    return any(field.name == "reuse_prefixes" for field in fields(PoolLimits))


def reuse_limits(reuses: bool) -> dict[str, Any]:
    """The limits of the pool: the default ones, with or without reuse of prefixes."""
    return {} if reuses else {"reuse_prefixes": False}


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of some processes."""
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return float(sum(one.user + one.system for one in times))


def without_tokens(answer: Answer) -> Answer:
    """Keep a hash of every answer: equal texts have equal hashes."""
    texts = [hashlib.sha256(json.dumps(row).encode()).hexdigest()[:16] for row in answer.pop("tokens")]
    return answer | {"documents": len(texts), "texts": texts}

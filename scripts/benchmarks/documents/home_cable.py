"""Documents/s with three peers and a client on slow uplinks, as float32 and as int8."""

from __future__ import annotations

from typing import Any

from p2pinfer.model.layer_store.store import LayerStore
from scripts.benchmarks.documents.corpus import ANSWER_TOKENS, INSTRUCTION_TOKENS, Corpus
from scripts.benchmarks.documents.plan import (
    NETWORK,
    PEERS,
    SERVER_CACHE_TOKENS,
    WIRE_DTYPES,
    Sizes,
    numbers,
)
from scripts.benchmarks.documents.speed import reuse_limits, without_tokens
from scripts.benchmarks.shared.lab_swarm import ask, swarm_on_lab
from scripts.benchmarks.shared.report import machine, say
from scripts.lab import PROFILES

_CLIENT = "scripts.benchmarks.documents.client"
_TIMED_DOCUMENTS = 6
_ROWS, _STEP_TOKENS = 32, 256  # of the steps by which a stage is judged
_WARM_UP, _WARM_UP_ROUND = 2, 900_000


def measure_home_cable(store: LayerStore, corpus: Corpus, sizes: Sizes) -> dict[str, Any]:
    """Runs by dtype, in the order of the rounds. Raises LabUnavailableError where there can be no lab."""
    runs: dict[str, list[dict[str, Any]]] = {dtype: [] for dtype in WIRE_DTYPES}
    with swarm_on_lab(
        store,
        PEERS,
        _CLIENT,
        {},
        profile=NETWORK,
        seed=1,
        server_arguments=("--max-cache-tokens", str(SERVER_CACHE_TOKENS)),
    ) as (client, lab):
        work = {"tokens": ANSWER_TOKENS, "limits": reuse_limits(True)}
        warming = corpus.prompts(numbers(_WARM_UP_ROUND, _WARM_UP))
        ask(client, "answer", prompts=warming, **work)
        for number in range(sizes.rounds):
            say(f"{NETWORK}: round {number + 1} of {sizes.rounds}")
            prompts = corpus.prompts(numbers(number, sizes.network_documents))
            compute = ask(
                client,
                "compute",
                stages=PEERS,
                lengths=[len(prompt) for prompt in prompts[:_TIMED_DOCUMENTS]],
                shared=INSTRUCTION_TOKENS,
                answer=ANSWER_TOKENS,
                rows=_ROWS,
                step_tokens=_STEP_TOKENS,
            )
            for dtype in WIRE_DTYPES:
                before = lab.counters()
                answer = without_tokens(ask(client, "answer", prompts=prompts, wire_dtype=dtype, **work))
                lab.check()
                sent = {
                    name: counters.up.bytes - before[name].up.bytes
                    for name, counters in lab.counters().items()
                }
                say(f"  {dtype}: {len(prompts) / answer['seconds']:.2f} documents/s")
                work_done = _work(store, dtype, prompts, answer)
                runs[dtype].append(answer | compute | work_done | {"sent": sent, "counted": answer["steps"]})
    return {"runs": runs, "link": PROFILES[NETWORK].describe()}


def _work(store: LayerStore, dtype: str, prompts: list[list[int]], answer: dict[str, Any]) -> dict[str, Any]:
    """What the bounds are computed from: see bounds.py."""
    steps = answer["steps"].values()
    return {
        "cores": machine()["cores"],
        "hidden_size": store.manifest.hidden_size,
        "wire_dtype": dtype,
        "up_bits_per_second": PROFILES[NETWORK].up_bits_per_second,
        "answer_tokens": ANSWER_TOKENS,
        "computed_tokens": answer["prompt_tokens"] / len(prompts) - INSTRUCTION_TOKENS,
        "steps": sum(kind.get("steps", 0.0) for kind in steps) / len(prompts),
        "rows": sum(kind.get("rows", 0.0) for kind in steps) / len(prompts),
    }

"""Runs bench_wan: a swarm and its client on a lab for every profile, and rounds of work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2pinfer.folders import user_cache_folder
from p2pinfer.local_swarm.default_model import SMOLLM2, fetch_model_file
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.model.source import open_model
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.tensors import hidden_bytes
from scripts.benchmarks.shared import prompts
from scripts.benchmarks.shared.host_process import HostProcess
from scripts.benchmarks.shared.lab_swarm import CONGESTION_CONTROL, ask, swarm_on_lab
from scripts.benchmarks.shared.report import machine, say
from scripts.benchmarks.wan.plan import (
    PEERS,
    PREFILL_TOKENS,
    PROFILE,
    SEQUENCES,
    WIRE_DTYPES,
    congestion_controls,
)
from scripts.lab import HostCounters, WanLab

_DTYPES = {"float32": pb.FLOAT32, "int8": pb.INT8}
_ALLOWED = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
_CLIENT = "scripts.benchmarks.wan.client"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings from the command line."""

    parts: frozenset[str]
    num_tokens: int
    repetitions: int
    sessions: int
    seed: int
    logs: Path | None


def measure(settings: Settings) -> dict[str, Any]:
    """Run every part and return all numbers. Raises LabUnavailableError where there can be no lab."""
    store = open_model(
        str(fetch_model_file(SMOLLM2, user_cache_folder(), progress=say)),
        cache_folder=user_cache_folder(),
        progress=say,
    )
    hidden_size = store.manifest.hidden_size
    measured: dict[str, Any] = {
        "model": store.manifest.name,
        "machine": machine(),
        "num_tokens": settings.num_tokens,
        "repetitions": settings.repetitions,
        "sessions": settings.sessions,
        "row_bytes": hidden_bytes(1, hidden_size, pb.FLOAT32),
        "prefill_bytes": {
            dtype: hidden_bytes(PREFILL_TOKENS, hidden_size, wire) for dtype, wire in _DTYPES.items()
        },
        "congestion": {
            "own": CONGESTION_CONTROL.read_text().strip(),
            "allowed": _ALLOWED.read_text().split(),
        },
        "stream": [],
        "batch": [],
        "prefill": {},
    }
    if settings.parts & {"stream", "batch"}:
        measured |= measure_decoding(settings, store)
    if "prefill" in settings.parts:
        for control in congestion_controls(**measured["congestion"]):
            measured["prefill"][control] = measure_prefill(settings, store, control)
    return measured


@contextmanager
def _swarm(
    store: LayerStore,
    settings: Settings,
    *,
    profile: str,
    wire_dtypes: tuple[str, ...],
    congestion: str | None = None,
) -> Iterator[tuple[HostProcess, WanLab]]:
    with swarm_on_lab(
        store,
        PEERS,
        _CLIENT,
        {"wire_dtypes": wire_dtypes},
        profile=profile,
        seed=settings.seed,
        congestion=congestion,
        log=None if settings.logs is None else settings.logs / f"{profile}.log",
    ) as found:
        yield found


def measure_decoding(settings: Settings, store: LayerStore) -> dict[str, Any]:
    """Measure one stream, and many."""
    questions = prompts.questions(store, SEQUENCES)
    rows = sorted({1, SEQUENCES // settings.sessions, SEQUENCES})
    length = len(questions[0]) + settings.num_tokens // 2
    rounds: dict[str, list[Any]] = {"stream": [], "batch": []}
    with _swarm(store, settings, profile=PROFILE["stream"], wire_dtypes=("float32",)) as (client, lab):
        for number in range(settings.repetitions + 1):
            say(_round(number, settings.repetitions))
            compute = ask(client, "compute", stages=PEERS, rows=rows, length=length)
            answers = {}
            if "stream" in settings.parts:
                answers["stream"] = ask(client, "stream", prompt=questions[0], tokens=settings.num_tokens)
            if "batch" in settings.parts:
                answers["batch"] = ask(
                    client,
                    "batch",
                    prompts=questions,
                    sessions=settings.sessions,
                    tokens=settings.num_tokens,
                )
            lab.check()
            if number > 0:
                for part, answer in answers.items():
                    rounds[part].append(answer | {"compute": compute})
    return rounds


def measure_prefill(settings: Settings, store: LayerStore, congestion: str) -> dict[str, list[Any]]:
    """Measure a long prompt with each dtype."""
    say(f"prefill with TCP {congestion}")
    prompt = prompts.long_text(store, PREFILL_TOKENS)
    rounds: dict[str, list[Any]] = {dtype: [] for dtype in WIRE_DTYPES}
    profile = PROFILE["prefill"]
    with _swarm(store, settings, profile=profile, wire_dtypes=WIRE_DTYPES, congestion=congestion) as (
        client,
        lab,
    ):
        for number in range(settings.repetitions + 1):
            say(_round(number, settings.repetitions))
            for dtype in WIRE_DTYPES:
                before = lab.counters()
                answer = ask(client, "prefill", prompt=prompt, wire_dtype=dtype)
                lab.check()
                if number > 0:
                    rounds[dtype].append(answer | {"sent": sent(before, lab.counters())})
    return rounds


def sent(before: Mapping[str, HostCounters], after: Mapping[str, HostCounters]) -> dict[str, dict[str, int]]:
    """What each host's uplink carried during the work, and what was lost on it."""
    return {
        name: {
            what: getattr(counters.up, what) - getattr(before[name].up, what)
            for what in ("bytes", "packets", "lost", "overflowed")
        }
        for name, counters in after.items()
    }


def _round(number: int, repetitions: int) -> str:
    return f"round {number} of {repetitions}" + (" (warm-up)" if number == 0 else "")

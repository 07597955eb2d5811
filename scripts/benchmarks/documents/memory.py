"""The runner's memory through a job, `status` meanwhile, and how soon a long input is under way."""

from __future__ import annotations

import itertools
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from p2pinfer.local_swarm.server_process import ServerProcess
from p2pinfer.local_swarm.shares import split_layers
from p2pinfer.local_swarm.swarm import LocalSwarm
from p2pinfer.model.layer_store.store import LayerStore
from scripts.benchmarks.documents.corpus import Corpus
from scripts.benchmarks.documents.plan import MEMORY_LIMIT_MEGABYTES, PEERS, SERVER_CACHE_TOKENS, Sizes
from scripts.benchmarks.documents.runner import Job, input_line, write_input
from scripts.benchmarks.shared.memory_limit import memory_limit
from scripts.benchmarks.shared.report import say
from scripts.benchmarks.shared.resident_memory import children_peak_megabytes, peak_megabytes

SHARES = (0.1, 0.5, 1)
"""How far the job is when memory is looked at; the last look is before the end."""

_DIFFERENT_TEXTS = 1000  # of the long input: only its first one is answered


def measure_memory(store: LayerStore, corpus: Corpus, sizes: Sizes) -> dict[str, Any]:
    """A job to its end with limited memory, then the beginning of a long one."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="documents-")))
        swarm = stack.enter_context(LocalSwarm())
        swarm.start(
            store.folder,
            split_layers(store.manifest.num_layers, PEERS),
            server_arguments=("--max-cache-tokens", str(SERVER_CACHE_TOKENS)),
        )

        def job(name: str) -> Job:
            path = folder / f"{name}.jsonl"
            return Job(
                folder=folder,
                name=name,
                model=store.folder,
                initial_peers=swarm.initial_peers,
                input=path,
            )

        prefix = stack.enter_context(memory_limit(MEMORY_LIMIT_MEGABYTES))
        say(f"memory: {sizes.memory_documents} documents" + ("" if prefix else ", without a limit"))
        texts = corpus.texts(range(min(sizes.memory_documents, _DIFFERENT_TEXTS)))
        whole, long = job("whole"), job("long")
        write_input(whole.input, store.manifest.name, _repeated(texts, sizes.memory_documents))
        found = _watched(whole, prefix or (), sizes.memory_documents)
        say(f"memory: the start of {sizes.long_input} lines")
        with long.input.open("w", encoding="ascii") as lines:
            lines.write(input_line(store.manifest.name, 0, "The", tokens=1))  # answered as soon as it may be
            lines.writelines(
                input_line(store.manifest.name, number, text)
                for number, text in enumerate(_repeated(texts, sizes.long_input - 1), 1)
            )
        started = _started(long, prefix or ())
    return {
        **found,
        **started,
        "documents": sizes.memory_documents,
        "long_input": sizes.long_input,
        "is_limited": bool(prefix),
    }


def _repeated(texts: list[str], count: int) -> itertools.islice[str]:
    return itertools.islice(itertools.cycle(texts), count)


def _watched(job: Job, prefix: tuple[str, ...], documents: int) -> dict[str, Any]:
    """The peaks of the runner and of its libp2p daemon, and the seconds of `status`, by share of the job."""
    peaks: dict[str, float] = {}
    daemons: dict[str, float] = {}
    status: list[float] = []
    left = list(SHARES)
    process = job.start(prefix)
    try:
        for count in job.progress(process):
            if (now := _peaks(process)) is not None:
                peaks[str(SHARES[-1])], daemons[str(SHARES[-1])] = now
            if now is not None and count >= left[0] * documents and left[0] < 1:
                share = str(left.pop(0))
                peaks[share], daemons[share] = now
                status.append(job.status_seconds())
                say(f"  {count} documents: {now[0]:.0f} MB, status in {status[-1]:.1f} s")
    finally:
        process.close()
    return {"peaks": peaks, "daemon_peaks": daemons, "status_seconds": status}


def _started(job: Job, prefix: tuple[str, ...]) -> dict[str, Any]:
    """Seconds from the command to the first answer, and those of `status` then; the job is killed."""
    began = time.monotonic()
    process = job.start(prefix)
    try:
        for count in job.progress(process):
            if count:
                seconds = time.monotonic() - began
                now = _peaks(process)
                return {
                    "start_seconds": seconds,
                    "start_peak": None if now is None else now[0],
                    "long_status_seconds": job.status_seconds(),
                }
    finally:
        process.close()
    raise AssertionError("a job ended without an answer")


def _peaks(process: ServerProcess) -> tuple[float, float] | None:
    """Megabytes of the runner and of its children; None at its end."""
    try:
        return peak_megabytes(process.pid), children_peak_megabytes(process.pid)
    except OSError:
        return None

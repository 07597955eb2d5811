"""Compare how well the model predicts a fixed English text: transformers in fp32 and bf16, and p2pinfer.

The text is the language reference that comes with Python, in windows of 1,024 tokens. Every token of a
window but the first is scored, given the tokens before it. Perplexity is e to the mean negative
log-likelihood. KL is the mean divergence from transformers fp32, in nats per token. `same top` is how often
the likeliest token is that of fp32. The spread of a ratio is its standard error over the windows.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import platform
import pydoc_data.topics
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer

from p2pinfer.errors import P2PInferError
from p2pinfer.folders import user_cache_folder
from p2pinfer.local_swarm.default_model import SMOLLM2, fetch_model_file
from p2pinfer.local_swarm.shares import split_layers
from p2pinfer.model.ends import ClientEnds
from p2pinfer.model.engine import load_engine
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.model.source import open_model
from p2pinfer.wire import inference_pb2 as pb
from scripts.benchmarks.engine.scored_models import RouteModel, ScoredModel, TransformersModel
from scripts.benchmarks.shared.report import machine, say, verdict, write_json

EXACT = "transformers fp32"
BASELINE = "transformers bf16"
GOAL_RATIO = 1.01
WINDOW_TOKENS = 1024
SCORED_TOKENS = WINDOW_TOKENS - 1
SLICE_TOKENS = 128
"""Tokens that are scored at a time: with a vocabulary of 49,152 that is 25 MB for each model."""
PEERS = 3

Windows = list[list[int]]


def text_windows(store: LayerStore, min_scored_tokens: int) -> Windows:
    """Cut windows from the text's beginning, enough for `min_scored_tokens`."""
    topics = pydoc_data.topics.topics
    text = "\n".join(topics[name] for name in sorted(topics))
    ids: list[int] = AutoTokenizer.from_pretrained(store.folder)(text, verbose=False).input_ids
    count = -(-min_scored_tokens // SCORED_TOKENS)
    most = len(ids) // WINDOW_TOKENS
    if count > most:
        say(f"the text has {most * SCORED_TOKENS} tokens to score, not {min_scored_tokens}")
    starts = range(0, min(count, most) * WINDOW_TOKENS, WINDOW_TOKENS)
    return [ids[start : start + WINDOW_TOKENS] for start in starts]


def load_models(store: LayerStore, model_file: Path, *, with_reference: bool) -> dict[str, ScoredModel]:
    """The models to compare, fp32 first. All stay in memory, about 1.5 GB."""
    say("loading")
    ends = ClientEnds.load(store)
    native = load_engine(store, store.span)
    whole = [store.span]
    hops = split_layers(store.manifest.num_layers, PEERS)
    models: dict[str, ScoredModel] = {
        EXACT: TransformersModel(model_file, torch.float32),
        BASELINE: TransformersModel(model_file, torch.bfloat16),
        f"p2pinfer, {native.numerics}": RouteModel(native, ends, whole, pb.FLOAT32),
        f"the same, {PEERS} hops, INT8 wire": RouteModel(native, ends, hops, pb.INT8),
    }
    if with_reference:
        engine = load_engine(store, store.span, engine="reference")
        models[f"p2pinfer, {engine.numerics}"] = RouteModel(engine, ends, whole, pb.FLOAT32)
    return models


def score_window(models: Mapping[str, ScoredModel], ids: Sequence[int]) -> dict[str, dict[str, float]]:
    """Means over one window, for each model: `nll`, `kl` and `same_top`."""
    states = {name: model.states(ids) for name, model in models.items()}
    sums = {name: np.zeros(3) for name in models}
    for start in range(0, SCORED_TOKENS, SLICE_TOKENS):
        rows = slice(start, min(start + SLICE_TOKENS, SCORED_TOKENS))
        targets = torch.tensor(ids[rows.start + 1 : rows.stop + 1])[:, None]
        exact = models[EXACT].logits(states[EXACT][rows]).log_softmax(-1)
        probabilities, top = exact.exp(), exact.argmax(-1)
        for name, model in models.items():
            found = exact if name == EXACT else model.logits(states[name][rows]).log_softmax(-1)
            nll = -found.gather(1, targets).double().sum()
            kl = torch.linalg.vecdot(probabilities, exact - found).double().sum()
            sums[name] += [float(nll), float(kl), float((found.argmax(-1) == top).sum())]
    return {
        name: dict(zip(("nll", "kl", "same_top"), total / SCORED_TOKENS, strict=True))
        for name, total in sums.items()
    }


@torch.inference_mode()
def measure(models: Mapping[str, ScoredModel], windows: Windows) -> dict[str, list[dict[str, float]]]:
    """The means of every window, by model."""
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in models}
    for number, ids in enumerate(windows, 1):
        started = time.monotonic()
        for name, means in score_window(models, ids).items():
            runs[name].append(means)
        say(f"window {number} of {len(windows)}: {time.monotonic() - started:.0f} s")
    return runs


def summarize(runs: Mapping[str, Sequence[Mapping[str, float]]]) -> list[dict[str, Any]]:
    """The results over all windows, one row per model."""
    rows = []
    for name, windows in runs.items():
        differences = [
            window["nll"] - base["nll"] for window, base in zip(windows, runs[BASELINE], strict=True)
        ]
        spread = statistics.stdev(differences) / math.sqrt(len(differences)) if len(differences) > 1 else 0.0
        rows.append(
            {
                "name": name,
                "perplexity": math.exp(statistics.fmean(window["nll"] for window in windows)),
                "ratio": math.exp(statistics.fmean(differences)),
                "ratio_spread": spread,
                "kl": statistics.fmean(window["kl"] for window in windows),
                "same_top": statistics.fmean(window["same_top"] for window in windows),
                "goal": GOAL_RATIO if name not in (EXACT, BASELINE) else None,
            }
        )
    return rows


def table(measured: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """The lines of the table."""
    lines = [
        f"{measured['model']}: {measured['scored_tokens']} scored tokens of Python "
        f"{measured['python']}'s topics in windows of {WINDOW_TOKENS}; SHA-256 of the tokens:",
        measured["tokens_sha256"],
        "",
        f"{'':34} {'perplexity':>10} {'over bf16':>18} {'KL from fp32':>13} {'same top':>9}  goal",
    ]
    for row in rows:
        over = f"{100 * row['ratio'] - 100:+.2f} (+-{100 * row['ratio_spread']:.2f}) %"
        met = verdict(row["goal"] is not None and row["ratio"] <= row["goal"])
        goal = "" if row["goal"] is None else f"<= {100 * row['goal'] - 100:.0f} % above bf16: {met}"
        lines.append(
            f"{row['name']:34} {row['perplexity']:10.4f} {over:>18} {row['kl']:13.6f} "
            f"{100 * row['same_top']:7.2f} %  {goal}"
        )
    return "\n".join(lines)


def main() -> int:
    """Run the benchmark, print the table, write the JSON file."""
    parser = argparse.ArgumentParser(prog="scripts/bench_accuracy", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about 2,000 tokens: to see that it works")
    parser.add_argument("--tokens", type=int, default=20_000, metavar="N", help="tokens to score (20000)")
    parser.add_argument("--reference", action="store_true", help="the reference engine, too")
    parser.add_argument("--json", type=Path, default=Path("build/bench_accuracy.json"), metavar="FILE")
    flags = parser.parse_args()
    try:
        model_file = fetch_model_file(SMOLLM2, user_cache_folder(), progress=say)
        store = open_model(str(model_file), cache_folder=user_cache_folder(), progress=say)
        windows = text_windows(store, 2_000 if flags.quick else max(1, flags.tokens))
        started = time.monotonic()
        runs = measure(load_models(store, model_file, with_reference=flags.reference), windows)
    except P2PInferError as error:
        print(f"bench_accuracy: {error}", file=sys.stderr)
        return 1
    rows = summarize(runs)
    measured = {
        "model": store.manifest.name,
        "manifest": store.manifest.hash,
        "machine": machine(),
        "python": platform.python_version(),
        "scored_tokens": len(windows) * SCORED_TOKENS,
        "tokens_sha256": hashlib.sha256(np.array(windows, "<i4").tobytes()).hexdigest(),
        "windows": runs,
    }
    write_json(flags.json, measured | {"summary": rows})
    print(table(measured, rows))
    say(f"\n{time.monotonic() - started:.0f} s; every value is in {flags.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

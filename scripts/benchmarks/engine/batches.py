"""Measure batches of sessions that enter and leave a span in the middle: no sockets, only batcher and engine.

The engine has random weights. `beside a document`: how long a decode step takes, from its arrival to its
result, while another client's steps of 512 tokens run through the whole span. `together`: decode steps of
sessions through various layers, in tokens times layers per second; `alike` has as many sessions through the
whole span. Medians of all rounds. Time is processor time of one thread: other programs count little. JSON
has every value.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from p2pinfer.model.engine.native.config import LLAMA_NORMS, LayerShape, NativeShape
from p2pinfer.model.engine.native.engine import NativeEngine
from p2pinfer.model.engine.native.rotary import Rotary
from p2pinfer.server.compute.batcher import Batcher, QueuedStep, RowInput
from p2pinfer.server.compute.computed import Computed
from p2pinfer.server.compute.speed import measure_speed
from p2pinfer.types import Span
from p2pinfer.wire.step_kind import StepKind

LAYERS = 10
HIDDEN, INTERMEDIATE, HEADS, KV_HEADS, HEAD_DIM = 576, 1536, 9, 3, 64
WHOLE = Span(0, LAYERS)
READERS = {"whole span": WHOLE, "layers 3:8": Span(3, 8), "layers 6:7": Span(6, 7)}
MIXED = (WHOLE, Span(3, 8), Span(0, 6), Span(5, LAYERS), Span(2, 9), WHOLE, Span(4, 7), Span(0, 3))
DOCUMENT_TOKENS = 512
MOST_TOKENS = 2048  # of a sequence, before it begins again


class Client:
    """A session that sends its next step when the last one is done."""

    def __init__(
        self, batcher: Batcher, engine: NativeEngine, layers: Span, name: bytes, tokens: int
    ) -> None:
        self.layers, self.seconds = layers, list[float]()
        self._batcher, self._engine, self._name, self._tokens = batcher, engine, name, tokens
        self._hidden = np.random.default_rng(1).standard_normal((tokens, HIDDEN), dtype=np.float32)
        self._cache = engine.new_cache(layers)
        self._kind = StepKind.DECODE if tokens == 1 else StepKind.PREFILL

    def send(self) -> None:
        """Add a step."""
        if self._cache.length + self._tokens > MOST_TOKENS:
            self._cache.rewind(0)
        self._sent = time.thread_time()
        row = RowInput(self._cache, self._cache.length, self._hidden)
        self._batcher.add(QueuedStep(self._name, self._kind, [row], self._done))

    def close(self) -> None:
        """Drop what waits."""
        self._batcher.release([self._cache])

    def _done(self, outcome: Computed | Exception) -> None:
        if isinstance(outcome, Exception):
            raise outcome
        self.seconds.append(time.thread_time() - self._sent)
        self.send()


def random_engine() -> NativeEngine:
    """Ten layers of the shape of SmolLM2-135M, with random weights."""
    rng = np.random.default_rng(0)
    rotary = Rotary(frequencies=(0.7 ** np.arange(HEAD_DIM // 2)).astype(np.float32), factor=1.0)
    shape = NativeShape(
        hidden=HIDDEN,
        intermediate=INTERMEDIATE,
        heads=HEADS,
        kv_heads=KV_HEADS,
        head_dim=HEAD_DIM,
        epsilon=1e-5,
        attention_scale=HEAD_DIM**-0.5,
        attention_softcap=0.0,
        activation="silu",
        norms=LLAMA_NORMS,
        norm_offset=0.0,
        residual_scale=1.0,
        rotaries=(rotary,),
        layers=(LayerShape(window_tokens=0, rotary=0),) * LAYERS,
    )
    queries, keys = HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM
    sizes = {"self_attn.q_proj": (queries, HIDDEN), "self_attn.o_proj": (HIDDEN, queries)}
    sizes |= dict.fromkeys(("self_attn.k_proj", "self_attn.v_proj"), (keys, HIDDEN))
    sizes |= dict.fromkeys(("mlp.gate_proj", "mlp.up_proj"), (INTERMEDIATE, HIDDEN))
    sizes["mlp.down_proj"] = (HIDDEN, INTERMEDIATE)
    engine = NativeEngine(shape, WHOLE, threads=1)
    for layer in range(LAYERS):
        tensors: dict[str, Any] = {name: np.ones(HIDDEN, np.float32) for name in shape.norms.values()}
        for name, (outputs, inputs) in sizes.items():
            tensors[f"{name}.weight"] = rng.integers(-127, 128, (outputs, inputs), dtype=np.int8)
            tensors[f"{name}.weight_scale"] = np.full(outputs, 1 / (73 * inputs**0.5), np.float32)
        engine.fill_layer(layer, tensors)
    return engine


def run_for(batcher: Batcher, clients: Sequence[Client], seconds: float) -> float:
    """Serve these clients and nobody else; return how long it took."""
    for client in clients:
        client.send()
    started = time.thread_time()
    while time.thread_time() - started < seconds:
        batcher.run()
    lasted = time.thread_time() - started
    for client in clients:
        client.close()
    return lasted


def milliseconds_beside_a_document(engine: NativeEngine, layers: Span, seconds: float) -> list[float]:
    """How long each decode step took."""
    batcher = Batcher(engine, measure_speed(engine, MOST_TOKENS))
    reader = Client(batcher, engine, layers, b"reader", 1)
    run_for(batcher, [Client(batcher, engine, WHOLE, b"writer", DOCUMENT_TOKENS), reader], seconds)
    return [1000 * one for one in reader.seconds]


def layer_tokens_per_second(engine: NativeEngine, spans: Sequence[Span], seconds: float) -> float:
    """Decode steps of all sessions, each token counted once per layer."""
    batcher = Batcher(engine, measure_speed(engine, MOST_TOKENS))
    clients = [Client(batcher, engine, span, bytes([index]), 1) for index, span in enumerate(spans)]
    lasted = run_for(batcher, clients, seconds)
    return sum(len(client.seconds) * len(client.layers) for client in clients) / lasted


def measure(seconds: float, rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """All parts, in turns."""
    engine = random_engine()
    waits: dict[str, list[float]] = {name: [] for name in READERS}
    rates: dict[str, list[float]] = {"mixed": [], "alike": []}
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        for name, layers in READERS.items():
            waits[name] += milliseconds_beside_a_document(engine, layers, seconds)
        rates["mixed"].append(layer_tokens_per_second(engine, MIXED, seconds))
        rates["alike"].append(layer_tokens_per_second(engine, [WHOLE] * len(MIXED), seconds))
    return {"milliseconds beside a document": waits, "layer tokens per second": rates}


def print_table(measured: dict[str, Any]) -> None:
    """Markdown."""
    print("| decode step beside a document | steps | median ms | worst of twenty ms |\n|---|---|---|---|")
    for name, waits in measured["milliseconds beside a document"].items():
        late = sorted(waits)[int(0.95 * len(waits))] if waits else float("nan")
        middle = statistics.median(waits) if waits else float("nan")
        print(f"| {name} | {len(waits)} | {middle:.1f} | {late:.1f} |")
    rates = {name: statistics.median(of) for name, of in measured["layer tokens per second"].items()}
    print("\n| 8 sessions decode | layer-tokens/s | of alike |\n|---|---|---|")
    for name, rate in rates.items():
        print(f"| {name} | {rate:.0f} | {rate / rates['alike']:.2f} |")


def main() -> int:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(prog="scripts/bench_batches", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each part (4)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    flags = parser.parse_args()
    measured = measure(flags.seconds, flags.rounds, lambda text: print(text, file=sys.stderr))
    if flags.json:
        print(json.dumps(measured))
    else:
        print_table(measured)
    return 0


if __name__ == "__main__":
    sys.exit(main())

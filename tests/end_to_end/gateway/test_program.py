"""The program: it starts, keeps within its memory, survives a dying server, and ends at once."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import psutil
import pytest

from p2pinfer.local_swarm.swarm import LocalSwarm
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.types import Span
from tests.end_to_end.gateway.conftest import MODEL
from tests.end_to_end.gateway.running import SECONDS, GatewayProcess

QUESTION = [{"role": "user", "content": "Tell me a story."}]


def test_its_memory_is_bounded(swarm_of_three: LocalSwarm):
    """Neither torch nor transformers is loaded. The first grammar takes 35 MB more."""
    body = {"model": MODEL, "messages": QUESTION, "max_tokens": 8}
    with GatewayProcess("--initial-peers", *swarm_of_three.initial_peers, "--model", MODEL) as gateway:
        for _ in range(3):
            answer = httpx.post(f"{gateway.url}/chat/completions", json=body, timeout=SECONDS)
            assert answer.status_code == 200
        process = psutil.Process(gateway.process.pid)
        assert "libtorch" not in " ".join(one.path for one in process.memory_maps())
        assert process.memory_info().rss < 200e6


def test_metrics_count_what_the_swarm_made(gateway: GatewayProcess):
    before = gateway.metric("p2pinfer_gateway_tokens_total")
    body = {"model": MODEL, "prompt": "One, two,", "max_tokens": 5, "stream": True}
    assert httpx.post(f"{gateway.url}/completions", json=body, timeout=SECONDS).status_code == 200
    assert gateway.metric("p2pinfer_gateway_tokens_total") >= before + 5
    assert gateway.metric("p2pinfer_gateway_running") == gateway.metric("p2pinfer_gateway_waiting") == 0


def test_a_server_that_dies_is_replaced_and_the_stream_tells(smollm2: LayerStore):
    """The text is the one that is made without the loss; the last chunk says who left."""
    body = {
        "model": MODEL, "messages": QUESTION, "max_tokens": 60, "seed": 3, "stream": True, "temperature": 0.7,
        "p2pinfer": {"route": True}, "logit_bias": {"2": -100},
    }  # fmt: skip
    halves = [Span(0, 15), Span(15, 30)]
    with LocalSwarm() as swarm:
        swarm.start(smollm2.folder, [*halves, *halves], threads=1)
        with GatewayProcess("--initial-peers", *swarm.initial_peers) as gateway:
            gateway.wait_ready()
            undisturbed, _ = stream(gateway, body)
            text, notes = stream(gateway, body, disturb=lambda peer: kill(swarm, peer))
    assert text == undisturbed
    assert notes[-1]["events"] and notes[-1]["events"][0]["left"]
    assert notes[-1]["tokens_per_second"] > 0


def kill(swarm: LocalSwarm, peer: str) -> None:
    swarm.servers[[str(one) for one in swarm.peer_ids].index(peer)].kill()


def stream(gateway: GatewayProcess, body: dict, disturb=None) -> tuple[str, list[dict]]:  # type: ignore[no-untyped-def, type-arg]
    """The text, and the notes of the route. `disturb` gets the first hop's peer after ten chunks."""
    texts, notes = [], []
    with httpx.stream("POST", f"{gateway.url}/chat/completions", json=body, timeout=SECONDS) as answer:
        assert answer.status_code == 200, answer.read()
        for line in answer.iter_lines():
            if not line.startswith("data: {"):
                continue
            chunk = json.loads(line.removeprefix("data: "))
            assert "error" not in chunk, chunk
            texts.append(chunk["choices"][0]["delta"].get("content", ""))
            notes += [chunk["p2pinfer"]] if "p2pinfer" in chunk else []
            if disturb is not None and len(texts) == 10:
                disturb(notes[0]["hops"][0]["peer"])
    return "".join(texts), notes


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_at_once_and_its_streams_get_an_end(
    number: signal.Signals, swarm_of_three: LocalSwarm
):
    body = {
        "model": MODEL, "messages": QUESTION, "max_tokens": 4_000, "stream": True, "logit_bias": {"2": -100}
    }  # fmt: skip
    lines: list[str] = []
    began = threading.Event()

    def read() -> None:
        with httpx.stream("POST", f"{gateway.url}/chat/completions", json=body, timeout=SECONDS) as answer:
            for line in answer.iter_lines():
                lines.append(line)
                began.set()

    with GatewayProcess("--initial-peers", *swarm_of_three.initial_peers, "--model", MODEL) as gateway:
        reader = threading.Thread(target=read)
        reader.start()
        assert began.wait(SECONDS)
        assert gateway.end(number) == 0  # within END_SECONDS
        reader.join(SECONDS)
    assert not [line for line in gateway.lines if "Traceback" in line or "Error" in line]
    last = [line for line in lines if line.startswith("data: ")][-1]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "stopping"


def test_a_model_that_is_not_there_ends_the_start_with_one_line(swarm_of_three: LocalSwarm, tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "p2pinfer.gateway", "--port", "0", "--model", "no-such-model", "--no-batches",
         "--initial-peers", *swarm_of_three.initial_peers],
        capture_output=True, text=True, check=False, timeout=SECONDS,
    )  # fmt: skip
    assert done.returncode in (1, 2) and "no-such-model" in done.stderr and "Traceback" not in done.stderr

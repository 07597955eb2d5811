"""The plain client with real processes: many texts at once, small, and whole when a server dies."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from p2pinfer.client.plain import PlainClient
from p2pinfer.local_swarm.shares import split_layers
from p2pinfer.local_swarm.swarm import LocalSwarm
from p2pinfer.model.sampling.options import SamplingOptions
from tests.end_to_end.conftest import PROMPTS
from tests.end_to_end.test_departures import in_use

MEBIBYTES = 1024
SMALL = """
import re, sys
from pathlib import Path
from p2pinfer.client.plain import PlainClient

with PlainClient(sys.argv[1], initial_peers=sys.argv[2:]) as client:
    answer = client.generate([{"role": "user", "content": "What is the capital of Germany?"}], max_tokens=24)
print(answer.text)
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
print(*sorted({"torch", "transformers"} & set(sys.modules)))
"""


def test_texts_of_many_threads_are_those_of_one_process(smollm2, three_servers, one_process):
    with PlainClient(smollm2.folder, initial_peers=three_servers.initial_peers) as client:
        prompts = [client.model.tokenizer.encode(prompt) for prompt in PROMPTS]
        with ThreadPoolExecutor(len(PROMPTS)) as threads:
            answers = list(
                threads.map(
                    lambda prompt: client.generate(prompt, max_tokens=16, end_tokens=frozenset()), prompts
                )
            )
    assert [answer.tokens for answer in answers] == [one_process.greedy(prompt, 16) for prompt in prompts]


def test_it_answers_a_chat_in_little_memory_without_torch_or_transformers(smollm2, three_servers):
    done = subprocess.run(
        [sys.executable, "-c", SMALL, str(smollm2.folder), *three_servers.initial_peers],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    answer, kibibytes, modules = done.stdout.split("\n")[:3]
    assert "Berlin" in answer
    assert int(kibibytes) < 200 * MEBIBYTES
    assert modules == ""


def test_a_server_that_is_killed_changes_no_drawn_text(smollm2):
    with LocalSwarm() as swarm:
        swarm.start(smollm2.folder, [*split_layers(30, 2), *split_layers(30, 2)], threads=1)
        with PlainClient(smollm2.folder, initial_peers=swarm.initial_peers) as client:
            draws = [SamplingOptions(seed=seed) for seed in range(4)]
            prompt = "Once upon a time"
            expected = [client.generate(prompt, max_tokens=60, sampling=draw).text for draw in draws]

            begun = threading.Barrier(len(draws) + 1)

            def text(draw: SamplingOptions) -> str:
                pieces = client.stream(prompt, max_tokens=60, sampling=draw)
                first = next(pieces)
                begun.wait(60)
                return first + "".join(pieces)

            with ThreadPoolExecutor(len(draws)) as threads:
                texts = [threads.submit(text, draw) for draw in draws]
                begun.wait(60)
                in_use(swarm, client.generate("x", max_tokens=1).route.hops[0].peer_id).kill()
                assert [one.result(120) for one in texts] == expected

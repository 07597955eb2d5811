"""A server that boasts, and then stalls or dawdles, among honest ones: real processes, the real model."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest
import torch
from transformers.generation.streamers import BaseStreamer

from p2pinfer import AutoDistributedModelForCausalLM
from p2pinfer.client.trust.kept import FILE_NAME
from p2pinfer.local_swarm.swarm import LocalSwarm
from p2pinfer.types import Span
from scripts.benchmarks.chaos.malice import HOSTILE_PROGRAM, Malice
from tests.end_to_end.conftest import PROMPTS

TOKENS = 24
TRIES = 8
MOST_PAUSE_SECONDS = 12.0
"""Four times what is promised: the machines that run tests are busy with other tests."""


class Clock(BaseStreamer):
    """Notes when the prompt and each token came."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def put(self, value: object) -> None:
        self.times.append(time.monotonic())

    def end(self) -> None:
        pass

    @property
    def pauses(self) -> list[float]:
        return [later - earlier for earlier, later in itertools.pairwise(self.times)]


@pytest.mark.parametrize("malice", Malice, ids=lambda malice: malice.value)
def test_a_hostile_server_loses_its_client_within_three_steps_and_is_remembered(
    smollm2, tokenizer, one_process, tmp_path: Path, malice: Malice
):
    """Clients that know nobody draw it or the honest one. The next process of one that drew it doesn't."""
    ids = tokenizer(PROMPTS[1], return_tensors="pt").input_ids
    expected = one_process.greedy(ids[0].tolist(), TOKENS)
    with LocalSwarm() as swarm:
        swarm.start(smollm2.folder, [Span(0, 15), Span(15, 30)], threads=1)
        swarm.launch(
            smollm2.folder,
            [Span(15, 30)],
            threads=1,
            program=HOSTILE_PROGRAM,
            server_arguments=("--malice", malice.value),
        )
        swarm.wait_ready()
        hostile = swarm.peer_ids[2]

        def process(folder: Path) -> tuple[bool, int]:
            """Generate a text as a new client; return if it drew the hostile server, and its steps there."""
            through: list[bool] = []
            clock = Clock()
            with (
                AutoDistributedModelForCausalLM.from_pretrained(
                    smollm2.folder, initial_peers=swarm.initial_peers, cache_folder=folder
                ) as model,
                model.inference_session(max_length=128) as session,
            ):

                def look(input_ids: torch.Tensor, scores: object, **_: object) -> bool:
                    through.append(hostile in [hop.peer_id for hop in session.report()])
                    return False

                output = model.generate(
                    ids,
                    max_new_tokens=TOKENS,
                    do_sample=False,
                    eos_token_id=None,
                    streamer=clock,
                    stopping_criteria=[look],
                )
                replaced = session.replaced_hops
            assert output[0, ids.shape[1] :].tolist() == expected
            assert max(clock.pauses) < MOST_PAUSE_SECONDS
            assert not through[-1]
            return any(through) or replaced > 0, sum(through)

        for number in range(TRIES):
            has_drawn_it, steps = process(tmp_path / str(number))
            if has_drawn_it:
                break
        else:
            pytest.skip(f"{TRIES} clients drew the honest server")
        assert steps <= (10 if malice is Malice.HALF else 3)
        assert hostile in (tmp_path / str(number) / FILE_NAME).read_text()
        assert process(tmp_path / str(number)) == (False, 0)

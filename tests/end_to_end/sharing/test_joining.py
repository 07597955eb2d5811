"""Servers and clients get their share of the model from the swarm, and nothing else: real processes."""

from __future__ import annotations

import signal

from p2pinfer import AutoDistributedModelForCausalLM
from p2pinfer.local_swarm.swarm import LocalSwarm
from p2pinfer.model.layer_store.names import layer_files
from p2pinfer.types import Span
from tests.end_to_end.conftest import PROMPTS
from tests.end_to_end.sharing.joining import (
    LEAVE_SECONDS,
    NAME,
    check_files,
    files_in,
    launch,
    ready,
    said,
    traffic_of,
)

FIRST, SECOND = Span(0, 15), Span(15, 30)


def test_a_swarm_that_began_with_one_store_lives_on_with_shares_alone(
    smollm2, tokenizer, one_process, tmp_path
):
    """One server joins by the model's name, one without a name; a client comes by name; the founder goes.

    Each has fetched its own files and no other ones, and the text is that of the whole model in one process.
    """
    ids = tokenizer(PROMPTS[0], return_tensors="pt").input_ids
    manifest, client_cache = smollm2.manifest, tmp_path / "client"
    with LocalSwarm() as swarm:
        founder = launch(swarm, smollm2.folder, Span(0, 30))
        ready(founder)
        by_name = launch(swarm, NAME, FIRST, cache=tmp_path / "first")
        assert "of 53 MB" in said(by_name, "fetching layers 0:15 of SmolLM2-135M-Instruct: ")
        ready(by_name)
        without = launch(swarm, None, None, "--num-layers", "15", cache=tmp_path / "second")
        assert "layers 15:30 of 30" in ready(without)
        assert any(f"model {NAME}: 30 layers, manifest {manifest.hash}" == line for line in without.lines)
        lines: list[str] = []
        with AutoDistributedModelForCausalLM.from_pretrained(
            NAME, initial_peers=swarm.initial_peers, cache_folder=client_cache, progress=lines.append
        ) as model:
            output = model.generate(ids, max_new_tokens=12, do_sample=False, eos_token_id=None)
            founder.signal(signal.SIGINT)
            assert founder.wait(LEAVE_SECONDS)
            output = model.generate(output, max_new_tokens=12, do_sample=False, eos_token_id=None)
            served_by = {hop.peer_id for hop in model.route_report()}
        assert output[0, ids.shape[1] :].tolist() == one_process.greedy(ids[0].tolist(), 24)
        assert served_by == set(swarm.peer_ids[1:])
        given = traffic_of(swarm, founder)[1]

    assert lines and all(line.startswith(f"fetching the ends of {NAME}: ") for line in lines)
    check_files(tmp_path / "first", smollm2, FIRST)
    check_files(tmp_path / "second", smollm2, SECOND)
    no_layers = set(manifest.files) - set(layer_files(smollm2.span))
    assert files_in(client_cache, smollm2) == no_layers | {"manifest.json"}
    needed = manifest.bytes_of((*layer_files(FIRST), *layer_files(SECOND), *no_layers))
    assert needed <= given <= 1.05 * needed

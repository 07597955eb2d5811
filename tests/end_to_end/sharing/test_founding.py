"""A swarm that begins with a share: nobody has the whole model on a disk, real processes."""

from __future__ import annotations

from pathlib import Path

from p2pinfer import AutoDistributedModelForCausalLM
from p2pinfer.local_swarm.swarm import LocalSwarm
from p2pinfer.model.layer_store.names import layer_files
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.types import Span
from tests.end_to_end.conftest import PROMPTS
from tests.end_to_end.sharing.joining import check_files, launch, ready, run


def test_a_store_of_some_layers_founds_a_swarm(smollm2_file, smollm2, tokenizer, one_process, tmp_path: Path):
    """It gives its layers to servers, and the ends to clients, while it is alone; the others come later."""
    ids, layers = tokenizer(PROMPTS[3], return_tensors="pt").input_ids, Span(0, 10)
    share = tmp_path / "share"
    converted = run(
        "convert", str(smollm2_file), "--out", str(share), "--share-only", str(layers), seconds=120
    )
    assert converted.returncode == 0, converted.stderr
    assert f"model hash {smollm2.manifest.hash}" in converted.stdout
    store = LayerStore.open(share)
    assert store.missing(store.manifest.files) == layer_files(Span(10, 30))
    with LocalSwarm() as swarm:
        assert f"layers {layers} of 30" in ready(launch(swarm, share))
        joiner = launch(swarm, smollm2.manifest.hash, Span(7, 10), cache=tmp_path / "cache")
        with AutoDistributedModelForCausalLM.from_pretrained(
            smollm2.manifest.name, initial_peers=swarm.initial_peers, cache_folder=tmp_path / "client"
        ) as model:
            assert "layers 7:10 of 30" in ready(joiner)
            check_files(tmp_path / "cache", smollm2, Span(7, 10))
            ready(launch(swarm, smollm2.folder, Span(10, 30)))
            output = model.generate(ids, max_new_tokens=8, do_sample=False, eos_token_id=None)
    assert output[0, ids.shape[1] :].tolist() == one_process.greedy(ids[0].tolist(), 8)

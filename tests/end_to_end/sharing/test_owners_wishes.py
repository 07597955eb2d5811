"""A server that fetches obeys its owner at once, keeps what came, and isn't taken for one that serves."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from p2pinfer import AutoDistributedModelForCausalLM
from p2pinfer.errors import NoRouteError
from p2pinfer.local_swarm.server_process import ServerProcess
from p2pinfer.local_swarm.swarm import LocalSwarm
from p2pinfer.model.layer_store.names import layer_file
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.owner.consent import revoke_consent
from p2pinfer.owner.files import OwnerFiles
from p2pinfer.types import Span
from tests.end_to_end.conftest import PROMPTS
from tests.end_to_end.sharing.joining import (
    NAME,
    bytes_that_came,
    fetched,
    health,
    launch,
    ready,
    said,
    until,
)

OBEYED_SECONDS = 20.0
MIB = 1 << 20


def test_a_fetch_ends_when_the_owner_wants_it_and_what_has_come_is_kept(smollm2, tokenizer, tmp_path):
    """By the policy, which pauses it; by SIGTERM; and by consent that is taken back."""
    cache, ids = tmp_path / "cache", tokenizer(PROMPTS[0], return_tensors="pt").input_ids
    with LocalSwarm() as swarm:
        ready(launch(swarm, smollm2.folder, Span(0, 1), mbit_per_s=6))
        joiner = launch(swarm, NAME, Span(1, 30), cache=cache, obeys_parked=True)
        files = OwnerFiles(swarm.data_folder(1))
        comes(joiner, cache, smollm2, 2 * MIB)

        [model] = health(swarm, tmp_path)
        states = {server["peer_id"]: server["state"] for server in model["servers"]}
        assert states == dict(zip(swarm.peer_ids, ("serving", "joining"), strict=True))
        assert (model["answer"], model["missing"]) == ("no", [[1, 30]])
        with AutoDistributedModelForCausalLM.from_pretrained(
            smollm2.folder, initial_peers=swarm.initial_peers, timeout=1
        ) as client:
            with pytest.raises(NoRouteError, match="layers 1-29"):
                client.generate(ids, max_new_tokens=2)

        (files.folder / "parked").write_text("false")
        said(joiner, "paused: ", OBEYED_SECONDS)
        kept = stands_still(cache, smollm2)
        (files.folder / "parked").write_text("true")
        comes(joiner, cache, smollm2, kept + MIB)

        joiner.signal(signal.SIGTERM)
        assert joiner.wait(OBEYED_SECONDS) and joiner.returncode == 0
        assert joiner.lines[-1] == "stopped before it was ready"
        kept = stands_still(cache, smollm2)

        joiner = swarm.restart(1)
        said(joiner, f" of {NAME}: ")  # which layers depends on whether one had come whole
        assert bytes_that_came(cache, smollm2) >= kept
        comes(joiner, cache, smollm2, kept + MIB)
        revoke_consent(files.consent)
        assert joiner.wait(OBEYED_SECONDS) and joiner.returncode == 0
        assert joiner.lines[-1].startswith("ending: "), joiner.lines

    store = LayerStore.open(fetched(cache, smollm2))
    whole = [layer for layer in range(1, 30) if store.has(layer_file(layer))]
    for layer in whole:
        store.verify(Span(layer, layer + 1))
    assert len(whole) < 29


def comes(server: ServerProcess, cache: Path, store: LayerStore, least_bytes: int) -> None:
    until(lambda: bytes_that_came(cache, store) >= least_bytes, server)


def stands_still(cache: Path, store: LayerStore) -> int:
    """Nothing comes any more; returns the bytes that are here."""
    before = bytes_that_came(cache, store)
    time.sleep(2.0)  # two chunks would have come
    assert bytes_that_came(cache, store) == before
    return before

"""Which model a server takes that names one, names it with its hash, or names none: real processes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pinfer import AutoDistributedModelForCausalLM
from p2pinfer.errors import SwarmError
from p2pinfer.local_swarm.swarm import LocalSwarm
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.sharing.naming.known_models import FILE, KnownModels
from p2pinfer.types import Span
from tests.end_to_end.sharing.joining import NAME, check_files, launch, ready, run, said
from tests.model.tiny_models import tiny_store


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> LayerStore:
    """Another model: four tiny layers."""
    return tiny_store(tmp_path_factory.mktemp("other"), "llama")


@pytest.fixture(scope="module")
def two_models(smollm2: LayerStore, other: LayerStore) -> Iterator[LocalSwarm]:
    """A swarm in which nobody serves the last layers of the first model, though the founder has them."""
    with LocalSwarm() as swarm:
        ready(launch(swarm, smollm2.folder, Span(0, 28)))
        ready(launch(swarm, other.folder, Span(0, 4)))
        yield swarm


def test_without_a_name_and_a_terminal_the_server_takes_the_model_that_needs_it(
    two_models: LocalSwarm, smollm2: LayerStore, tmp_path: Path
):
    """And the layers that nobody serves."""
    joiner = launch(two_models, None, None, "--num-layers", "2", cache=tmp_path)

    assert "layers 28:30 of 30" in ready(joiner)
    assert f"of 2 models of this swarm {NAME} needs servers most" in said(joiner, "NAME@HASH")
    check_files(tmp_path, smollm2, Span(28, 30))
    joiner.kill()


def test_a_name_with_a_hash_is_that_model_and_a_name_whose_hash_has_changed_is_a_warning(
    two_models: LocalSwarm, smollm2: LayerStore, other: LayerStore, tmp_path: Path
):
    """Both hashes are named, and how to find out what happened; the new one is remembered."""
    KnownModels(tmp_path / FILE, print).remember(NAME, "ab" * 32, at=time.time())
    by_hash = launch(
        two_models, f"{other.manifest.name}@{other.manifest.hash[:12]}", Span(1, 3), cache=tmp_path
    )
    changed = launch(two_models, NAME, Span(4, 5), cache=tmp_path)

    assert "layers 1:3 of 4" in ready(by_hash)
    check_files(tmp_path, other, Span(1, 3))
    warning = said(changed, "WARNING: ")
    assert f"{NAME} has changed" in warning and "abababab" in warning
    assert smollm2.manifest.hash in warning and "python -m p2pinfer.convert --verify" in warning
    ready(changed)
    known = json.loads((tmp_path / FILE).read_text())["models"]
    assert {name: model["hash"] for name, model in known.items()} == {
        NAME: smollm2.manifest.hash,
        other.manifest.name: other.manifest.hash,
    }
    for server in (by_hash, changed):
        server.kill()


@pytest.mark.parametrize(("name", "status"), [("Nobody-7B", 1), ("Nobody-7B@0123456789ab", 2)])
def test_a_name_that_the_swarm_lacks_is_an_error_that_says_what_it_has(
    two_models: LocalSwarm, smollm2: LayerStore, other: LayerStore, tmp_path: Path, name: str, status: int
):
    """With what to copy instead; also for a client."""
    done = run(
        *("server", name, "--accept", "--listen", "127.0.0.1:0", "--data-folder", str(tmp_path)),
        *("--cache-folder", str(tmp_path), "--initial-peers", *two_models.initial_peers),
    )
    assert done.returncode == status, done.stderr
    expected = f"the swarm serves no model {name}. It serves:\n"
    assert expected in done.stderr and "Traceback" not in done.stderr
    for model in (smollm2.manifest, other.manifest):
        assert f"\n  {model.name}@{model.hash[:16]}  ({model.num_layers} layers)" in done.stderr

    with pytest.raises((SwarmError, ValueError), match=expected):
        AutoDistributedModelForCausalLM.from_pretrained(
            name, initial_peers=two_models.initial_peers, cache_folder=tmp_path
        )

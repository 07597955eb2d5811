"""Layers that no peer has come from the model's source, by byte range: real processes, a hub on loopback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pinfer.local_swarm.swarm import LocalSwarm, Place
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.types import Span
from tests.end_to_end.sharing.joining import LEAVE_SECONDS, check_files, launch, ready, until
from tests.model.formats.hub.loopback_hub import LoopbackHub
from tests.model.tiny_models import save_tiny_model

MODEL = "tiny/llama"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LoopbackHub]:
    with LoopbackHub({MODEL: save_tiny_model(tmp_path / "source", "llama")}) as hub:
        yield hub


def test_what_no_peer_has_is_converted_from_the_hub_and_is_the_same(hub: LoopbackHub, tmp_path: Path):
    """The founder keeps two of four layers; the joiner gets one of them, and the others from the hub.

    The hub stands still first: the joiner obeys its owner nevertheless. Then it answers with an error.
    """
    environment = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "0"}
    at_the_hub = Place(prefix=("env", *(f"{name}={value}" for name, value in environment.items())))
    command = [sys.executable, "-m", "p2pinfer.convert", MODEL, "--out", str(tmp_path / "share")]
    done = subprocess.run(
        [*command, "--share-only", "0:2"],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    founded = LayerStore.open(tmp_path / "share")
    hub.weights_asked.clear()
    hub.faults.append("stall")
    with LocalSwarm() as swarm:
        ready(launch(swarm, founded.folder, Span(0, 2)))
        joiner = launch(swarm, MODEL, Span(1, 4), cache=tmp_path / "cache", place=at_the_hub)
        until(hub.stalled.is_set, joiner)
        joiner.signal(signal.SIGTERM)
        assert joiner.wait(LEAVE_SECONDS) and joiner.returncode == 0, joiner.lines

        hub.faults.append("503")
        assert "layers 1:4 of 4" in ready(swarm.restart(1))
    check_files(tmp_path / "cache", founded, Span(1, 4))
    assert hub.weights_asked

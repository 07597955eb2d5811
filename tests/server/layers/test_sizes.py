"""How many layers a machine takes, and what a partial store begins with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from p2pinfer.identity import Identity
from p2pinfer.model.layer_store.names import layer_file
from p2pinfer.server.config import ServerConfig
from p2pinfer.server.layers.sizes import founders_layers, sizes_for
from p2pinfer.types import Span
from tests.model.tiny_models import tiny_store

US = Identity.ephemeral()


def test_a_server_takes_no_more_layers_than_its_disk_has_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """What the owner allows, or what is free; layers that are here need no room."""
    store = tiny_store(tmp_path, "llama")
    layer_bytes = store.layer_bytes(Span(0, 1))
    config = ServerConfig.from_args(["m"])
    assert sizes_for(config, store).most == 4
    for layer in (1, 2, 3):
        (store.folder / layer_file(layer)).unlink()

    small = replace(config, disk_gb=2.5 * layer_bytes / 1e9)
    assert sizes_for(small, store).most == 2
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1.5 * layer_bytes))
    assert sizes_for(config, store).most == 2
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=0))
    assert sizes_for(config, store).most == 1


def test_a_partial_store_that_begins_a_swarm_serves_what_it_has(tmp_path: Path):
    """Nobody could give it the rest."""
    store = tiny_store(tmp_path, "llama")
    (store.folder / layer_file(3)).unlink()

    assert founders_layers(ServerConfig.from_args(["m"]), store) == Span(0, 3)
    joining = ["m", "--initial-peers", f"/ip4/192.0.2.7/tcp/1/p2p/{US.peer_id}"]
    assert founders_layers(ServerConfig.from_args(joining), store) is None

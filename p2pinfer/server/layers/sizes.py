"""How many layers this machine may take: what its owner says, or what memory and disk have room for."""

from __future__ import annotations

import shutil

from p2pinfer.model.layer_store.names import layer_file
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.server.compute.budget import default_num_layers, most_num_layers
from p2pinfer.server.config import ServerConfig
from p2pinfer.server.machine.memory import available_memory_bytes
from p2pinfer.server.placement.choice import Sizes, share_here
from p2pinfer.types import Span


def sizes_for(config: ServerConfig, store: LayerStore) -> Sizes:
    """Before anything is loaded: what is loaded later takes of the memory that is free now."""
    total = store.manifest.num_layers
    if config.num_layers is not None:
        return Sizes.exactly(min(config.num_layers, total))
    largest_layer_bytes = max(store.layer_bytes(Span(layer, layer + 1)) for layer in range(total))
    free_bytes = available_memory_bytes()
    room = _room_layers(config, store, largest_layer_bytes)
    usual, most = (
        number(largest_layer_bytes=largest_layer_bytes, free_bytes=free_bytes, num_layers=room)
        for number in (default_num_layers, most_num_layers)
    )
    return Sizes(least=-(-usual // 2), usual=usual, most=most)


def founders_layers(config: ServerConfig, store: LayerStore) -> Span | None:
    """The layers that are here, where a partial store begins a swarm: nobody could give it the others."""
    if config.initial_peers or config.num_layers is not None:
        return None
    return share_here(store.has(layer_file(layer)) for layer in range(store.manifest.num_layers))


def _room_layers(config: ServerConfig, store: LayerStore, largest_layer_bytes: int) -> int:
    """How many layers the disk has room for, those that are here included; at least one."""
    total = store.manifest.num_layers
    here = [layer for layer in range(total) if store.has(layer_file(layer))]
    if len(here) == total:
        return total
    if config.disk_gb is not None:
        room_bytes = int(config.disk_gb * 1e9)
    else:
        here_bytes = sum(store.layer_bytes(Span(layer, layer + 1)) for layer in here)
        room_bytes = shutil.disk_usage(store.folder).free + here_bytes
    return max(1, min(total, room_bytes // largest_layer_bytes))

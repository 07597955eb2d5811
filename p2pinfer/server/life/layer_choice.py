"""Which layers this server takes: those that its owner names, or those that the swarm lacks most."""

from __future__ import annotations

from p2pinfer.errors import UsageError
from p2pinfer.model.layer_store.names import layer_file
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.server.compute.budget import default_num_layers
from p2pinfer.server.config import ServerConfig
from p2pinfer.server.machine.memory import available_memory_bytes
from p2pinfer.server.placement import choose_span
from p2pinfer.swarm.census import coverage
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.types import Span


def check_layers(config: ServerConfig, model_name: str, num_layers: int) -> None:
    """Raise UsageError if the model lacks layers that the owner names."""
    whole = Span(0, num_layers)
    if config.layers is not None and not config.layers.within(whole):
        raise UsageError(f"--layers {config.layers}: {model_name} has layers {whole}")


async def choose_layers(config: ServerConfig, swarm: Swarm, store: LayerStore) -> Span:
    """The layers to claim.

    Raises UsageError if the model doesn't have the layers that were asked for, SwarmError if the swarm can't
    be read.
    """
    manifest = store.manifest
    check_layers(config, manifest.name, manifest.num_layers)
    if config.layers is not None:
        return config.layers
    number = config.num_layers or default_num_layers(
        largest_layer_bytes=max(
            store.layer_bytes(Span(layer, layer + 1)) for layer in range(manifest.num_layers)
        ),
        free_bytes=available_memory_bytes(),
        num_layers=manifest.num_layers,
    )
    servers = await swarm.servers(manifest.hash)
    held = {layer for layer in range(manifest.num_layers) if store.has(layer_file(layer))}
    return choose_span(coverage(servers, manifest.num_layers), min(number, manifest.num_layers), held)

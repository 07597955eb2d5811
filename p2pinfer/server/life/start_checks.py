"""What an owner got wrong, said at the start: also where the policy lets the server work only hours later."""

from __future__ import annotations

from functools import partial

from p2pinfer.model.engine import check_engine
from p2pinfer.model.families import family_of, text_config
from p2pinfer.model.formats.hub.repository import HubRepository
from p2pinfer.model.formats.lookup import is_local, open_source
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.model.source import find_model
from p2pinfer.server.config import ServerConfig
from p2pinfer.server.layers.layer_choice import check_layers
from p2pinfer.sharing.naming.model_ref import ModelRef
from p2pinfer.swarm.addresses import check_address, check_listen_address, check_peer_address
from p2pinfer.threads import in_thread


async def check_start(config: ServerConfig) -> None:
    """Check the settings on this machine: nothing is downloaded, converted or loaded, and no swarm joined.

    A model id that the local cache lacks is one question to its hub. Raises P2PInferError, with what the
    owner can do about it; HubUnreachableError says only that the model can't be checked now.
    """
    for address in config.initial_peers:
        check_peer_address(address)
    for address in config.dht_listen:
        check_listen_address(address)
    for address in config.announced_maddrs:
        check_address(address)
    await in_thread(partial(check_engine, device=config.device, engine=config.engine))
    if config.model is None:
        return
    if config.initial_peers and not is_local(config.model):
        ModelRef.parse(config.model)  # the swarm may have it, whether the hub can be asked or not
        return
    await in_thread(partial(_check_model, config, config.model))


def _check_model(config: ServerConfig, model: str) -> None:
    path = find_model(model, config.cache_folder)
    if isinstance(path, HubRepository):
        return  # the hub has the model: it can be read when the server may work
    if LayerStore.is_store(path):
        manifest = LayerStore.open(path).manifest
        check_layers(config, manifest.name, manifest.num_layers)
        return
    source = open_source(model, path, _unheard)
    family_of(source.config)
    num_layers = text_config(source.config).get("num_hidden_layers")
    if isinstance(num_layers, int):
        check_layers(config, source.name, num_layers)


def _unheard(line: str) -> None:
    """Nothing is fetched, so there is nothing to say."""

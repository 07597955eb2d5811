"""The servers of a model as peers that hold files of it, by what their records say."""

from __future__ import annotations

from typing import Protocol

from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.model.layer_store.names import CONFIG_FILE, layer_file
from p2pinfer.sharing.fetch.holder import Holder
from p2pinfer.swarm.records.announcement import Announcement
from p2pinfer.swarm.records.listing import ModelListing
from p2pinfer.types import PeerId


class ReadableSwarm(Protocol):
    """What is asked of a `Swarm`."""

    @property
    def peer_id(self) -> PeerId:
        """Our own."""

    async def models(self) -> list[ModelListing]:
        """The listed models. Raises SwarmError if the swarm can't be read."""

    async def servers(self, model: str) -> list[Announcement]:
        """The servers of a model. Raises SwarmError if the swarm can't be read."""


async def holders_of(swarm: ReadableSwarm, model: str, manifest: Manifest | None = None) -> list[Holder]:
    """The peers that may hold files of a model, without ourselves. Raises SwarmError.

    A server that is still joining is one of them: it has a part of its layers already.
    """
    return [
        Holder(
            server.peer_id,
            server.address,
            None if manifest is None else _files_of(server, manifest),
        )
        for server in await swarm.servers(model)
        if server.certificate and server.peer_id != swarm.peer_id
    ]


def _files_of(server: Announcement, manifest: Manifest) -> frozenset[str] | None:
    """None: nobody knows. A server with the ends was mostly given the model, perhaps with all of its layers.

    One that joined with a share has the layers of its record, and seldom the ends, as a caretaker.
    """
    if server.holds_ends:
        return None
    layers = {layer_file(layer) for layer in range(server.layers.start, server.layers.end)}
    return frozenset({CONFIG_FILE, *layers})

"""Whether other servers of the swarm have the same model: without them no client may ever come. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.swarm.records.announcement import Announcement
from p2pinfer.swarm.records.listing import ModelListing
from p2pinfer.types import PeerId

_MOST_LISTED = 5
_HASH_CHARACTERS = 12


def alone_with(
    manifest: Manifest, us: PeerId, servers: Iterable[Announcement], models: Iterable[ModelListing]
) -> str | None:
    """What to tell the owner if the swarm's servers have other models only; None if there is nothing to tell.

    `servers` are those of our manifest, `models` those of the whole swarm.
    """
    others = [model for model in models if model.model != manifest.hash]
    if not others or any(server.peer_id != us for server in servers):
        return None
    listed = ", ".join(
        f"{model.model_name} (manifest {model.model[:_HASH_CHARACTERS]}, {model.num_layers} layers)"
        for model in others[:_MOST_LISTED]
    )
    more = f", and {len(others) - _MOST_LISTED} more" if len(others) > _MOST_LISTED else ""
    same_name = any(model.model_name == manifest.name for model in others)
    hint = (
        " The same name with another manifest: the weights, or the version that converted them, differ."
        if same_name
        else ""
    )
    return (
        f"no other server of this swarm has manifest {manifest.hash[:_HASH_CHARACTERS]}: only clients with "
        f"this manifest can use this server. Other servers have {listed}{more}.{hint}"
    )

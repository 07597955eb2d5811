"""Whether other servers of the swarm have the same model: without them no client may ever come. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.model.layer_store.origin import Origin
from p2pinfer.plain_text import printable
from p2pinfer.sharing.naming.difference import ModelFacts, difference, facts_of
from p2pinfer.swarm.records.announcement import Announcement
from p2pinfer.swarm.records.listing import ModelListing
from p2pinfer.types import PeerId

_MOST_LISTED = 5
_HASH_CHARACTERS = 12
_NO_ORIGINS: Mapping[str, Origin] = {}


def alone_with(
    manifest: Manifest,
    us: PeerId,
    servers: Iterable[Announcement],
    models: Iterable[ModelListing],
    origins: Mapping[str, Origin] = _NO_ORIGINS,
) -> str | None:
    """What to tell the owner if the swarm's servers have other models only; None if there is nothing to tell.

    `servers` are those of our manifest, `models` those of the whole swarm. `origins` says of some hashes
    where they come from, as far as their manifests could be read.
    """
    others = [model for model in models if model.model != manifest.hash]
    if not others or any(server.peer_id != us for server in servers):
        return None
    # Those of the same name first: they are what the owner may have meant.
    others.sort(key=lambda model: not _same_name(model, manifest))
    listed = ", ".join(map(_described, others[:_MOST_LISTED]))
    more = f", and {len(others) - _MOST_LISTED} more" if len(others) > _MOST_LISTED else ""
    return (
        f"no other server of this swarm has manifest {manifest.hash[:_HASH_CHARACTERS]}: only clients with "
        f"this manifest can use this server. Other servers have {listed}{more}."
        f"{''.join(_hints(manifest, others[:_MOST_LISTED], origins))}"
    )


def _described(model: ModelListing) -> str:
    short_hash = model.model[:_HASH_CHARACTERS]
    return f"{printable(model.model_name)} (manifest {short_hash}, {model.num_layers} layers)"


def _hints(
    manifest: Manifest, others: Iterable[ModelListing], origins: Mapping[str, Origin]
) -> Iterable[str]:
    """How those of the same name differ."""
    unknown = False
    for other in others:
        if not _same_name(other, manifest):
            continue
        facts = ModelFacts(
            name=other.model_name, num_layers=other.num_layers, origin=origins.get(other.model)
        )
        if words := difference(facts, facts_of(manifest)):
            yield f" {other.model[:_HASH_CHARACTERS]} is {words}."
        else:
            unknown = True
    if unknown:
        yield " The same name with another manifest: the weights, or the version that converted them, differ."


def _same_name(model: ModelListing, manifest: Manifest) -> bool:
    """Also `name` and `org/name`: one was converted from a folder, the other from the hub."""
    return model.model_name.rpartition("/")[2] == manifest.name.rpartition("/")[2]

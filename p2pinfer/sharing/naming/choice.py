"""Which of the swarm's models a name means. Pure.

Names come from strangers, and anybody may give any name to anything: only the hash says which model it is.
So a name decides only where it leaves no choice, or where this machine has met it before.

A model from the hub has the name `org/name`. `name` alone means it, too, if nothing else is listed that is
called so: a model called `name` doesn't go before `org/name`, or a stranger could list one in its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from p2pinfer.errors import UsageError
from p2pinfer.plain_text import day_of, printable, several
from p2pinfer.sharing.naming.known_models import KnownModel
from p2pinfer.sharing.naming.model_ref import HASH_CHARACTERS, SHORT_HASH_CHARACTERS, ModelRef, words_to_copy
from p2pinfer.swarm.cells.climb import is_crowded
from p2pinfer.swarm.records.listing import ModelListing

MOST_LISTED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The model that is meant."""

    listing: ModelListing
    remark: str = ""  # what its user should know about the choice
    is_warning: bool = False  # True if the name had another hash before


def choose_named(
    ref: ModelRef,
    listings: Sequence[ModelListing],
    known: Mapping[str, KnownModel],
    *,
    servers: Mapping[str, int] | None = None,
) -> Chosen | None:
    """The model that `ref` means; None if the swarm doesn't list it.

    `listings` has every hash once, `known` what this machine remembers of names, `servers` counts the servers
    of some hashes, for people. Of several models with the name the remembered one is taken. Raises UsageError
    with commands to copy if several are meant and none is remembered.
    """
    meant = [listing for listing in listings if _is_meant(ref, listing)]
    if not meant:
        return None
    if ref.hash_prefix is not None and len(meant) == 1:
        return _by_hash(ref, meant[0], known)
    remembered = [listing for listing in meant if _remembers(known, listing)]
    if ref.hash_prefix is None and len(remembered) == 1:
        others = [listing for listing in meant if listing is not remembered[0]]
        return Chosen(listing=remembered[0], remark=_others(remembered[0], others, servers))
    if len(meant) == 1:
        return _only_one(ref, meant[0], known)
    raise UsageError(_which(ref, meant, known, servers))


def no_such_model(ref: ModelRef, listings: Sequence[ModelListing]) -> str:
    """What to tell somebody whose name fits none of the swarm's models."""
    shown = printable(str(ref))
    if not listings:
        return f"the swarm serves no model {shown}, and no other one yet"
    return f"the swarm serves no model {shown}. It serves:\n{_lines(listings, None)}"


def _is_meant(ref: ModelRef, listing: ModelListing) -> bool:
    if ref.hash_prefix is not None and not listing.model.startswith(ref.hash_prefix):
        return False
    if ref.name is None or len(ref.hash_prefix or "") == HASH_CHARACTERS:
        return True  # the whole hash decides, whatever strangers call it
    return ref.name in (listing.model_name, _short_name(listing))


def _short_name(listing: ModelListing) -> str:
    organisation, slash, name = listing.model_name.partition("/")
    return name if organisation and slash and "/" not in name else listing.model_name


def _remembers(known: Mapping[str, KnownModel], listing: ModelListing) -> bool:
    before = known.get(listing.model_name)
    return before is not None and before.hash == listing.model


def _by_hash(ref: ModelRef, listing: ModelListing, known: Mapping[str, KnownModel]) -> Chosen:
    """The user has chosen. What was known before is said, without alarm."""
    remarks = []
    if ref.name is not None and ref.name not in (listing.model_name, _short_name(listing)):
        remarks.append(f"the swarm calls this model {printable(listing.model_name)}")
    before = known.get(listing.model_name)
    if before is not None and before.hash != listing.model:
        remarks.append(
            f"until {day_of(before.last_seen)} this machine knew another model as "
            f"{printable(listing.model_name)}, {_short(before.hash)}"
        )
    return Chosen(listing=listing, remark="; ".join(remarks))


def _only_one(ref: ModelRef, listing: ModelListing, known: Mapping[str, KnownModel]) -> Chosen:
    before = known.get(listing.model_name)
    name = printable(listing.model_name)
    if before is not None and before.hash != listing.model:
        return Chosen(
            listing=listing,
            is_warning=True,
            remark=f"{name} has changed: until {day_of(before.last_seen)} it was {_short(before.hash)}, now "
            f"it is {_short(listing.model)}. Another version of p2pinfer or other weights made it, or "
            "somebody gave the name to another model. Compare it with the original: "
            f"python -m p2pinfer.convert --verify {listing.model} --source MODEL",
        )
    if ref.name is not None and ref.name != listing.model_name:
        return Chosen(listing=listing, remark=f"{printable(ref.name)} is {name}")
    return Chosen(listing=listing)


def _others(taken: ModelListing, others: Sequence[ModelListing], servers: Mapping[str, int] | None) -> str:
    if not others:
        return ""
    have, rest = ("has", "The other") if len(others) == 1 else ("have", "Others")
    return (
        f"{several(len(others), 'other model')} of the swarm {have} the name {printable(taken.model_name)}, "
        f"too. This machine knows {_short(taken.model)} and takes it. {rest}:\n{_lines(others, servers)}"
    )


def _which(
    ref: ModelRef,
    meant: Sequence[ModelListing],
    known: Mapping[str, KnownModel],
    servers: Mapping[str, int] | None,
) -> str:
    before = next((known[one.model_name] for one in meant if one.model_name in known), None)
    missing = before is not None and all(one.model != before.hash for one in meant)
    gone = (
        f"The one that this machine knows, {_short(before.hash)}, isn't listed now. "
        if before is not None and missing
        else ""
    )
    return (
        f"{len(meant):,} models of the swarm have the name {printable(str(ref))}. "
        f"{gone}Say which one you mean:\n{_lines(meant, servers)}"
    )


def _lines(listings: Sequence[ModelListing], servers: Mapping[str, int] | None) -> str:
    """The models with most servers first; only the first ones, as there may be thousands."""
    counts = servers or {}
    ranked = sorted(listings, key=lambda one: (-counts.get(one.model, 0), one.model_name, one.model))
    lines = [_line(listing, counts.get(listing.model)) for listing in ranked[:MOST_LISTED]]
    if len(ranked) > MOST_LISTED:
        lines.append(f"  and {len(ranked) - MOST_LISTED:,} more")
    return "\n".join(lines)


def _line(listing: ModelListing, servers: int | None) -> str:
    count = "" if servers is None else f", {several(servers, 'server')}"
    if servers is not None and is_crowded(servers):
        count = f", at least {servers:,} servers"  # of a large swarm only a sample is read
    layers = several(listing.num_layers, "layer")
    return f"  {words_to_copy(listing.model_name, listing.model)}  ({layers}{count})"


def _short(model: str) -> str:
    return model[:SHORT_HASH_CHARACTERS]

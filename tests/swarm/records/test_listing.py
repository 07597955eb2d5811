"""The list of models: its signed lines, and what they add up to."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from p2pinfer.errors import InvalidRecordError
from p2pinfer.identity import Identity
from p2pinfer.swarm.records.listing import (
    ListingEntry,
    ModelListing,
    decode_listing,
    encode_listing,
    summarize,
)
from tests.swarm.conftest import MODEL

IDENTITY = Identity.ephemeral()


def entry(identity: Identity, **changes: Any) -> ListingEntry:
    listing = ModelListing(model=MODEL, model_name="m", num_layers=30)
    base = ListingEntry(
        peer_id=identity.peer_id, listing=listing, left=False, announced_at=1e9, expires_at=1e9 + 60
    )
    return dataclasses.replace(base, **changes)


def test_a_listing_comes_back_and_a_flipped_byte_is_noticed() -> None:
    data = encode_listing(entry(IDENTITY), IDENTITY)

    assert decode_listing(data) == entry(IDENTITY)
    for position in range(len(data)):
        with pytest.raises(InvalidRecordError):
            decode_listing(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])


def test_the_list_has_each_model_once_under_its_most_common_name() -> None:
    wrong = ModelListing(model=MODEL, model_name="a lie", num_layers=3)
    other = ModelListing(model="cd" * 32, model_name="other", num_layers=2)
    entries = [
        entry(IDENTITY),
        entry(IDENTITY),
        entry(IDENTITY, listing=wrong),
        entry(IDENTITY, listing=other),
        entry(IDENTITY, listing=dataclasses.replace(other, model="ef" * 32), left=True),
    ]

    assert [listing.model_name for listing in summarize(entries)] == ["m", "other"]

"""Whatever servers announce becomes a snapshot that every rendering can show: no value raises."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from p2pinfer.health.snapshot.report import SwarmReading
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.swarm.records.listing import ModelListing
from p2pinfer.types import LayerSeconds, PeerId, Span
from tests.health.snapshot.shown import shown

NOW = 1_785_000_000.0

odd_texts = ["\u202edrow", "\x1b[31m", "a\u0301" * 40, "\ud800", "\u2066x", "\U0001f469\u200d\U0001f467"]
texts = st.text(max_size=80) | st.sampled_from(odd_texts)
numbers = st.floats() | st.sampled_from([0.0, -0.0, 5e-324, 1e308, math.inf, -math.inf, math.nan])
counts = st.integers(-(2**70), 2**70)


@st.composite
def announcements(draw: st.DrawFn, listing: ModelListing) -> Announcement:
    """Any values of the right types. The layers are within the model, as a record's are."""
    start = draw(st.integers(0, listing.num_layers - 1))
    return Announcement(
        peer_id=PeerId(draw(texts)),
        model=listing.model,
        model_name=draw(texts),
        num_layers=draw(st.sampled_from([listing.num_layers, listing.num_layers + 1])),
        layers=Span(start, draw(st.integers(start + 1, listing.num_layers))),
        state=draw(st.sampled_from(ServerState)),
        numerics=draw(st.sampled_from(["n", "m"]) | texts),
        endpoints=(draw(texts),),
        certificate=draw(st.binary(max_size=20)),
        decode=LayerSeconds(draw(numbers), draw(numbers)),
        prefill=LayerSeconds(draw(numbers), draw(numbers)),
        measured_at=draw(numbers),
        prefill_measured_at=draw(numbers),
        batch_costs={8: draw(numbers)},
        queue_depth=draw(counts),
        free_cache_tokens=draw(counts),
        leaves_at=draw(st.none() | numbers),
        version=draw(texts),
        public_name=draw(texts),
        region=draw(texts),
        announced_at=draw(numbers),
        expires_at=draw(numbers | st.just(NOW + 60)),
    )


@st.composite
def readings(draw: st.DrawFn) -> SwarmReading:
    listing = ModelListing(
        model=draw(st.just("ab" * 32) | texts), model_name=draw(texts), num_layers=draw(st.integers(1, 4096))
    )
    return SwarmReading(models={listing: draw(st.lists(announcements(listing), max_size=5))})


@settings(max_examples=60)
@given(readings(), numbers | st.just(NOW), numbers)
def test_whatever_servers_announce_can_be_shown(reading: SwarmReading, now: float, since: float):
    """Page, JSON, metrics, terminal and history, at any time of the page's clock."""
    first_seen = {server.peer_id: since for servers in reading.models.values() for server in servers}
    words = shown(reading, first_seen=first_seen, now=now)

    for sign in "\u202e\u2066\x1b":
        assert sign not in words

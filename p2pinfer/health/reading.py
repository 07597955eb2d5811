"""Reads a swarm once: its models, their servers, and which of these are still there.

A swarm is full of strangers' claims. One server or one model that can't be read costs the reading only that
server or model.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Protocol

from p2pinfer.errors import SwarmError
from p2pinfer.health.faults import Faults
from p2pinfer.health.presence import Ping, ServerPresence
from p2pinfer.health.snapshot.report import SwarmReading
from p2pinfer.health.snapshot.sampled import CellLabels, SampleSize
from p2pinfer.swarm.discovery.sampling import Sample
from p2pinfer.swarm.records.announcement import Announcement
from p2pinfer.swarm.records.listing import ModelListing
from p2pinfer.tasks import all_of
from p2pinfer.types import PeerId

MOST_MODELS = 256
"""Models of one reading. Anybody can list models, and each costs a look-up in the DHT."""

_MODELS_AT_A_TIME = 8


class ReadableSwarm(Protocol):
    """What a reading asks of a `Swarm`."""

    async def models(self) -> list[ModelListing]:
        """The listed models. Raises SwarmError if the swarm can't be read."""

    async def sample(self, model: str) -> Sample:
        """The servers of a model, or a sample of many. Raises SwarmError if the swarm can't be read."""


async def read_swarm(
    swarm: ReadableSwarm,
    presence: ServerPresence,
    ping: Ping,
    *,
    last: SwarmReading,
    faults: Faults,
    labels: CellLabels,
) -> SwarmReading:
    """Every model and its present servers; of a large model's servers a sample.

    `last` is the reading before: its models are read first. A model that can't be read keeps the servers of
    `last`; their announcements expire. Raises SwarmError if the swarm can't be read.
    """
    slots = asyncio.Semaphore(_MODELS_AT_A_TIME)
    announced: set[PeerId] = set()
    samples: dict[str, SampleSize] = {}

    async def read(listing: ModelListing) -> Sequence[Announcement]:
        async with slots:
            try:
                sample = await swarm.sample(listing.model)
                samples[listing.model] = labels.without_places(listing.model, sample)
                announced.update(server.peer_id for server in sample.servers)
                return await presence.present(sample.servers, ping)
            except SwarmError:
                raise
            except Exception as error:  # noqa: BLE001 - one model must not hide the others
                faults.note(f"model {listing.model[:12]} can't be read", error)
                if (known := last.samples.get(listing.model)) is not None:
                    samples[listing.model] = known
                return last.models.get(listing, ())

    chosen = _chosen(await swarm.models(), last)
    found = await all_of(*(read(listing) for listing in chosen))
    presence.forget_all_but(announced)
    return SwarmReading(models=dict(zip(chosen, found, strict=True)), samples=samples)


def _chosen(listed: Sequence[ModelListing], last: SwarmReading) -> list[ModelListing]:
    """The models to read: those with most servers in the last reading, then any others."""
    if len(listed) <= MOST_MODELS:
        return list(listed)
    shuffled = random.sample(listed, len(listed))
    return sorted(shuffled, key=lambda one: -len(last.models.get(one, ())))[:MOST_MODELS]

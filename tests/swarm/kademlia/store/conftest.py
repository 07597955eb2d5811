"""A store and its clock."""

from __future__ import annotations

import pytest

from p2pinfer.swarm.kademlia.store import RecordStore
from tests.swarm.kademlia.store.keeping import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> RecordStore:
    return RecordStore(clock)

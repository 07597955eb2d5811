"""A page that several test files ask."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.health.states import make_contribution, make_probe, make_state
from tests.health.web.serving import FakeSource, Served, recent_samples, served


@pytest.fixture(scope="module")
def page() -> Iterator[Served]:
    """A small swarm's page. Tests that change it have their own."""
    state = make_state(
        generated_at=time.time(), probe=make_probe(), contributions=[make_contribution(n) for n in range(3)]
    )
    with served(FakeSource(state, recent_samples())) as running:
        yield running

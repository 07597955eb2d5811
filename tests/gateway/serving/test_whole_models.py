"""Which models of a swarm a gateway opens by itself."""

from __future__ import annotations

from p2pinfer.gateway.serving.whole_models import whole_models
from p2pinfer.identity import Identity
from p2pinfer.openai_api.work.work import seed_of
from p2pinfer.swarm.records.announcement import ServerState
from p2pinfer.swarm.records.listing import ModelListing
from p2pinfer.types import Span
from tests.swarm.conftest import describe

ME = Identity.ephemeral()


def listing(digit: str) -> ModelListing:
    return ModelListing(model=digit * 64, model_name=f"model-{digit}", num_layers=4)


def test_only_models_whose_layers_are_all_served_are_opened():
    """A server that still loads, or leaves, answers nobody; the model with most servers goes first."""
    first, second = describe(ME, layers=Span(0, 2)), describe(ME, layers=Span(2, 4))
    joining = describe(ME, layers=Span(2, 4), state=ServerState.JOINING)
    found = [
        (listing("a"), [first, second]),
        (listing("b"), [first, joining]),
        (listing("c"), []),
        (listing("d"), [first, second, second]),
    ]
    assert whole_models(found) == [listing("d"), listing("a")]


def test_seeds_of_several_answers_are_fixed():
    """They are part of what a seed promises: the same text tomorrow, and in the next release."""
    assert [seed_of(7, choice) for choice in range(3)] == [7, 2776804601523485429, 603544939596092586]
    assert all(0 <= seed_of(seed, choice) < 2**63 for seed in (-(2**63), -1, 2**63 - 1) for choice in (0, 1))

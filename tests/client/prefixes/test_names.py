"""Names are the same in every process of an identity, and differ in whatever the bytes at a hop depend on."""

from __future__ import annotations

import pytest

from p2pinfer.client.prefixes.names import Names, Route
from p2pinfer.client.prefixes.scope import EVERYBODY, Scope
from p2pinfer.identity import Identity
from p2pinfer.types import Span
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.prefix_steps import NAME_BYTES

ALICE, BOB = Identity.ephemeral(), Identity.ephemeral()
ROUTE = Route(numerics="n1", cuts=(Span(0, 2), Span(2, 6)))
OTHER_CUTS = Route(numerics="n1", cuts=(Span(0, 3), Span(3, 6)))
TOKENS = [1, 2, 3]


def name(
    tokens=TOKENS, scope=EVERYBODY, route=ROUTE, *, identity=ALICE, model="m", dtype=pb.FLOAT32
) -> bytes:
    return Names(identity, model=model, wire_dtype=dtype).name(tokens, scope, route)


def test_the_same_identity_makes_the_same_name_again():
    again = Identity(ALICE._private_key)
    assert name() == name(identity=again)
    assert len(name()) == NAME_BYTES


@pytest.mark.parametrize(
    "other",
    [
        {"tokens": [1, 2]},
        {"tokens": [1, 2, 4]},
        {"tokens": [1 + 256, 2, 3]},
        {"identity": BOB},
        {"model": "other"},
        {"route": Route(numerics="n2", cuts=ROUTE.cuts)},
        {"dtype": pb.INT8},
        {"scope": Scope("key")},
        {"scope": Scope("", is_shared=True)},
        {"scope": Scope("salt", is_shared=True)},
    ],
)
def test_anything_else_has_another_name(other: dict[str, object]):
    assert name() != name(**other)


def test_where_the_route_is_cut_matters_where_activations_are_rounded_between_hops():
    assert name() == name(route=OTHER_CUTS)
    assert name(dtype=pb.INT8) != name(dtype=pb.INT8, route=OTHER_CUTS)


def test_who_knows_the_salt_makes_the_name_whoever_it_is():
    salt = Scope("salt", is_shared=True)
    assert name(scope=salt) == name(scope=salt, identity=BOB)
    assert name(scope=salt) != name(scope=Scope("Salt", is_shared=True))


def test_any_text_is_a_salt_also_half_a_character():
    assert len(name(scope=Scope("\ud800", is_shared=True))) == NAME_BYTES
    assert len(name(scope=Scope("\ud800"))) == NAME_BYTES

"""What a client says when it finds no route: the reasons that it knows, in the same words each time."""

from __future__ import annotations

import pytest

from p2pinfer.client.route.shortage import LeftOut, Why, explained, why_avoided
from p2pinfer.errors import HopFailedError, NoRouteError, RefusedError
from p2pinfer.types import PeerId, Span
from p2pinfer.wire.status import Reason

LAST = Span(20, 30)
PEER = PeerId("12D3KooW")


def shortage(*left_out: LeftOut, missing: tuple[Span, ...] = (LAST,)) -> NoRouteError:
    return explained(NoRouteError("no server for some layers", missing), [], left_out, 30)


def server(why: Why, layers: Span = LAST) -> LeftOut:
    return LeftOut(layers, "one", why)


@pytest.mark.parametrize("why", list(Why))
def test_each_reason_is_said_in_words(why):
    error = shortage(server(why))
    assert error.reason == f"every known server that has them is {why.value}"
    assert "layers 20-29" in str(error)
    assert error.missing == (LAST,)


def test_where_servers_are_full_the_client_waits_for_room_and_not_for_servers():
    error = shortage(server(Why.FULL), server(Why.BUSY, Span(25, 30)))
    assert str(error) == "no room for layers 20-29"
    assert error.waiting_for == "a server to have room"
    assert error.reason == "every known server that has them is full or busy with as many sessions as allowed"


def test_layers_that_only_some_full_servers_have_are_still_missing():
    error = shortage(server(Why.FULL, Span(22, 30)))
    assert str(error) == "no server for layers 20-29"
    assert error.waiting_for == "servers to join"


def test_servers_of_other_layers_are_not_a_reason():
    assert shortage(server(Why.FULL, Span(0, 20))).reason == ""


def test_the_same_reasons_are_the_same_words_however_many_servers_have_them():
    one, other = server(Why.FULL), server(Why.UNREACHABLE)
    assert shortage(one, other).reason == shortage(other, one, one).reason


def test_where_numerics_classes_do_not_mix_the_class_that_lacks_least_is_explained():
    error = explained(
        NoRouteError("no chain of servers that compute alike"),
        [(Span(0, 20), "one"), (Span(20, 30), "two")],
        [LeftOut(LAST, "one", Why.FULL), LeftOut(Span(0, 10), "two", Why.UNREACHABLE)],
        30,
    )
    assert str(error).endswith("compute alike: those of class one lack layers 20-29")
    assert error.reason == "every known server that has them is full"
    assert error.missing == (LAST,)


@pytest.mark.parametrize("reason", list(Reason))
def test_after_each_refusal_a_reason_is_known(reason):
    assert isinstance(why_avoided(RefusedError(PEER, reason, "no")), Why)
    assert why_avoided(RefusedError(PEER, Reason.CACHE_FULL, "no")) is Why.FULL
    assert why_avoided(HopFailedError(PEER, "it left")) is Why.FAILED

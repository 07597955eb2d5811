"""What the page says of a swarm follows from its announcements, and agrees with brute force on small ones."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pinfer.health.json_form import as_json
from p2pinfer.health.snapshot.estimates import HOP_SECONDS
from p2pinfer.health.snapshot.report import MAX_MODELS, MAX_SERVERS, SwarmReading, make_sample, make_state
from p2pinfer.health.snapshot.state import Activity, Answer, HealthState, ModelView
from p2pinfer.swarm.reach.claimed import ClaimedReach
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.swarm.records.listing import ModelListing
from p2pinfer.types import LayerSeconds, PeerId, Span, Way, short_id
from tests.health.states import HOSTILE_TEXTS, NOW, make_contribution, make_probe, model_hash, peer_id

LISTING = ModelListing(model=model_hash(0), model_name="a model", num_layers=10)
NUMBERS = (float("nan"), 1e308, -1.0, float("inf"), float("-inf"))


def announced(
    number: int, start: int, end: int, *, num_layers: int = 10, seconds: float = 0.001, **changes: object
) -> Announcement:
    """A server that serves [start, end), alive at NOW, with `changes`."""
    fields: dict[str, object] = {
        "peer_id": PeerId(peer_id(number)),
        "model": model_hash(0),
        "model_name": "a model",
        "num_layers": num_layers,
        "layers": Span(start, end),
        "state": ServerState.SERVING,
        "numerics": "native-1",
        "decode": LayerSeconds(seconds),
        "announced_at": NOW - 5,
        "expires_at": NOW + 55,
    }
    return Announcement(**(fields | changes))  # type: ignore[arg-type]


def state_of(models: dict[ModelListing, Sequence[Announcement]], **changes: object) -> HealthState:
    """The snapshot of these, made at NOW."""
    fields: dict[str, object] = {
        "first_seen": {},
        "probes": {},
        "contributions": (),
        "generated_at": NOW,
        "fresh": True,
        "detail": "",
        "version": "0.1.0",
        "join_addresses": (),
    }
    return make_state(SwarmReading(models=models), **(fields | changes))  # type: ignore[arg-type]


def model_of(*servers: Announcement, num_layers: int = 10, **changes: object) -> ModelView:
    """The view of one model that these announce."""
    listing = ModelListing(model=model_hash(0), model_name="a model", num_layers=num_layers)
    [model] = state_of({listing: servers}, **changes).models
    return model


def test_a_model_that_outlives_any_server_can_generate():
    """Two servers of one numerics class hold every layer."""
    model = model_of(announced(1, 0, 6), announced(2, 4, 10), announced(3, 0, 10))

    assert model.answer is Answer.YES
    assert model.missing == ()
    assert [(s.start, s.end, s.replicas) for s in model.coverage] == [(0, 4, 2), (4, 6, 3), (6, 10, 2)]


def test_a_model_that_one_server_can_end_is_thin():
    assert model_of(announced(1, 0, 9), announced(2, 0, 10)).answer is Answer.THIN


def test_missing_layers_are_named():
    """Layers without a server, as the fewest stretches."""
    model = model_of(announced(1, 0, 3), announced(2, 5, 9))

    assert model.answer is Answer.NO
    assert model.missing == ((3, 5), (9, 10))
    assert model.best_route_tokens_per_second is None
    assert model.swarm_tokens_per_second is None


def test_classes_that_only_together_hold_all_layers_cannot_generate():
    """Routes never mix classes: no layer is missing, and still there is no route."""
    model = model_of(announced(1, 0, 5), announced(2, 5, 10, numerics="reference-1"))

    assert model.answer is Answer.NO
    assert model.missing == ()
    assert make_sample(model, NOW).weakest_replicas == 0


def test_two_thin_classes_outlive_any_one_server():
    """Each server is in one class, so the other class survives its loss."""
    both = [announced(1, 0, 10), announced(2, 0, 10, numerics="reference-1")]

    assert model_of(*both).answer is Answer.YES
    assert model_of(both[0]).answer is Answer.THIN


@pytest.mark.parametrize("state", [ServerState.JOINING, ServerState.DRAINING])
def test_a_server_that_does_not_serve_is_shown_and_not_counted(state: ServerState):
    model = model_of(announced(1, 0, 10, state=state))

    assert model.answer is Answer.NO
    assert [server.state.name for server in model.servers] == [state.name]


def test_help_is_wanted_where_nobody_serves_or_is_about_to():
    """The same census as that of servers that choose their layers: one that loads counts."""
    serving = announced(1, 0, 4)
    loading = announced(2, 4, 7, state=ServerState.JOINING, decode=LayerSeconds())
    wanted = model_of(serving, loading).wanted

    assert [(one.start, one.end, one.replicas) for one in wanted] == [(7, 10, 0)]


def test_without_a_gap_help_is_wanted_at_the_slowest_layers():
    """Two slow servers may carry less than a fast one."""
    slow = [announced(number, 0, 5, seconds=0.01) for number in (1, 2)]
    model = model_of(*slow, announced(3, 5, 10, seconds=0.001))

    assert [(one.start, one.end, one.replicas) for one in model.wanted] == [(0, 5, 2)]


def test_a_server_that_has_left_does_not_appear():
    """A server that has left, and a server whose record has expired."""
    left = announced(1, 0, 10, state=ServerState.LEFT, announced_at=NOW - 1)
    expired = announced(2, 0, 10, expires_at=NOW)

    assert model_of(announced(1, 0, 10), left, expired).servers == ()


def test_a_server_counts_once():
    twice = [announced(1, 0, 10, announced_at=NOW - 1), announced(1, 0, 5, announced_at=NOW - 3)]
    model = model_of(*twice)

    assert [(server.start, server.end) for server in model.servers] == [(0, 10)]
    assert model.answer is Answer.THIN


def test_a_server_that_contradicts_the_model_is_left_out():
    """Clients ignore such a server too: another number of layers is another model."""
    liar = announced(1, 0, 10**9, num_layers=10**9)
    outside, other = announced(2, 5, 11), announced(4, 0, 10, num_layers=11)

    assert model_of(liar, outside, other, announced(3, 0, 10)).answer is Answer.THIN


def test_a_model_with_a_billion_layers_is_none():
    """It can't be drawn, and the swarm refuses such a listing anyway."""
    absurd = ModelListing(model=model_hash(0), model_name="absurd", num_layers=10**9)

    assert state_of({absurd: [announced(1, 0, 10**9, num_layers=10**9)]}).models == ()


def test_rates_follow_from_a_servers_own_layers():
    """The rate of one stream through all of its layers. Missing or impossible claims give None."""
    plain = announced(1, 0, 10, seconds=0.002, prefill=LayerSeconds(0.0002))
    silent = announced(2, 0, 10, seconds=0.0)
    boasting = announced(3, 0, 10, seconds=1e-300, prefill=LayerSeconds(1e-308))
    model = model_of(plain, silent, boasting)
    rates = {
        one.peer_id: (one.decode_tokens_per_second, one.prefill_tokens_per_second) for one in model.servers
    }

    assert rates[peer_id(1)] == (pytest.approx(50.0), pytest.approx(500.0))
    assert rates[peer_id(2)] == rates[peer_id(3)] == (None, None)
    assert model.best_route_tokens_per_second == pytest.approx(1 / (0.02 + HOP_SECONDS))
    assert model.swarm_tokens_per_second == pytest.approx(50.0)


def test_since_when_a_server_is_seen_comes_from_the_page_itself():
    """A server's claims don't count. A new server is present since now."""
    model = model_of(announced(1, 0, 10), announced(2, 0, 10), first_seen={peer_id(1): NOW - 3600})

    assert {server.peer_id: server.since for server in model.servers} == {
        peer_id(1): NOW - 3600,
        peer_id(2): NOW,
    }


def test_models_come_largest_first():
    """Models of similar size are sorted by name."""
    listings = [
        ModelListing(model=model_hash(n), model_name=name, num_layers=10) for n, name in enumerate("abc")
    ]
    sizes = dict(zip(listings, (1, 4, 5), strict=True))
    models = {
        listing: [announced(n, 0, 10, model=listing.model) for n in range(size)]
        for listing, size in sizes.items()
    }

    assert [model.name for model in state_of(models).models] == ["b", "c", "a"]


def test_invented_models_do_not_push_out_real_ones():
    """Two thousand models with one server each, and one model with many: the largest 64 are kept."""
    invented = {
        ModelListing(model=model_hash(n), model_name=f"!{n}", num_layers=10): [announced(n, 0, 10)]
        for n in range(1, 2000)
    }
    real = ModelListing(model=model_hash(0), model_name="real", num_layers=10)
    state = state_of({**invented, real: [announced(n, 0, 10) for n in range(20)]})

    assert len(state.models) == MAX_MODELS
    assert state.models[0].name == "real"


def test_what_is_listed_is_bounded_and_what_is_counted_is_not():
    """The largest model lists fewer servers, the serving ones first; a small model stays complete."""
    large = ModelListing(model=model_hash(0), model_name="large", num_layers=10)
    small = ModelListing(model=model_hash(1), model_name="small", num_layers=10)
    crowd = [
        announced(n, 0, 10, state=ServerState.JOINING if n % 2 else ServerState.SERVING)
        for n in range(2 * MAX_SERVERS)
    ]
    state = state_of({large: crowd, small: [announced(1, 0, 10), announced(2, 0, 10)]})
    views = {model.name: model for model in state.models}

    assert len(views["large"].servers) == MAX_SERVERS - 2
    assert all(server.state is Activity.SERVING for server in views["large"].servers)
    assert views["large"].coverage[0].replicas == MAX_SERVERS
    assert len(views["small"].servers) == 2


def test_a_probe_names_no_address():
    probe = make_probe(works=False, detail="ipv4:198.51.100.7:4600 [2001:db8::7]:4600: connection refused")
    shown = model_of(announced(1, 0, 10), probes={model_hash(0): probe}).probe

    assert shown is not None
    assert shown.detail == "ipv4:[address] [address]: connection refused"


@given(
    st.lists(
        st.builds(
            dict,
            model_name=st.sampled_from(HOSTILE_TEXTS),
            public_name=st.sampled_from(HOSTILE_TEXTS),
            region=st.sampled_from(HOSTILE_TEXTS),
            version=st.sampled_from(HOSTILE_TEXTS),
            numerics=st.sampled_from(HOSTILE_TEXTS),
            seconds=st.sampled_from(NUMBERS),
            prefill=st.builds(LayerSeconds, st.sampled_from(NUMBERS), st.sampled_from(NUMBERS)),
            measured_at=st.sampled_from(NUMBERS),
            prefill_measured_at=st.sampled_from(NUMBERS),
            batch_costs=st.dictionaries(st.just(8), st.sampled_from(NUMBERS)),
            queue_depth=st.sampled_from([-1, 2**70, 0]),
            free_cache_tokens=st.sampled_from([-1, 2**70, 0]),
            leaves_at=st.sampled_from(NUMBERS),
            announced_at=st.sampled_from(NUMBERS),
            expires_at=st.sampled_from(NUMBERS),
        ),
        max_size=6,
    ),
    st.sampled_from(HOSTILE_TEXTS),
)
@settings(max_examples=60)
def test_whatever_servers_say_the_state_is_clean(hostile: list[dict[str, object]], name: str):
    """The swarm refuses such announcements before; this is the second check."""
    listing = ModelListing(model=model_hash(0), model_name=name, num_layers=10)
    servers = [announced(number, 0, 10, **changes) for number, changes in enumerate(hostile)]  # type: ignore[arg-type]
    state = state_of(
        {listing: servers},
        detail=name,
        version=name,
        join_addresses=(name,) * 100,
        contributions=[make_contribution(1, public_name=name)] * 200,
        first_seen={peer_id(0): float("nan"), peer_id(1): 1e308},
        probes={model_hash(0): make_probe(detail=name, tokens_per_second=float("nan"))},
    )

    assert as_json(state) == unclean_json(state)
    assert len(repr(state)) < 60_000


def unclean_json(value: object) -> object:
    """The state as it is; equal to its JSON only if nothing in that had to be cleaned."""
    if isinstance(value, tuple):
        return [unclean_json(item) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        return {name: unclean_json(getattr(value, name)) for name in value.__dataclass_fields__}
    return value


small_swarms = st.lists(
    st.builds(
        lambda start, length, numerics, state: (start, min(6, start + length), numerics, state),
        st.integers(0, 5),
        st.integers(1, 6),
        st.sampled_from(["a", "a", "b"]),
        st.sampled_from([ServerState.SERVING] * 4 + [ServerState.JOINING, ServerState.LEFT]),
    ),
    max_size=8,
)


@given(small_swarms)
@settings(max_examples=150)
def test_the_answer_is_what_happens_when_servers_leave(swarm: list[tuple[int, int, str, ServerState]]):
    """Brute force: remove each server in turn, and test whether one class still holds all layers."""
    servers = [
        announced(number, start, end, num_layers=6, numerics=numerics, state=state)
        for number, (start, end, numerics, state) in enumerate(swarm)
    ]
    serving = [server for server in servers if server.state is ServerState.SERVING]

    def generates(some: Sequence[Announcement]) -> bool:
        return any(
            all(any(layer in one.layers for one in some if one.numerics == numerics) for layer in range(6))
            for numerics in ("a", "b")
        )

    lasts = all(generates([other for other in serving if other is not one]) for one in serving)
    expected = Answer.NO if not generates(serving) else Answer.YES if lasts else Answer.THIN
    model = model_of(*servers, num_layers=6)

    assert model.answer is expected
    assert (model.swarm_tokens_per_second is None) is (expected is Answer.NO)
    assert (model.best_route_tokens_per_second is None) is (expected is Answer.NO)


@pytest.mark.parametrize("classes", [1, 5, 2000])
def test_two_thousand_servers_take_a_moment(classes: int):
    """The event loop makes a snapshot every few seconds: it must not stop for one. About 0.1 s."""
    servers = [
        announced(
            number,
            (number * 37) % 4000 if classes < 2000 else 0,
            min(4096, (number * 37) % 4000 + 97 + number % 900) if classes < 2000 else 4096,
            num_layers=4096,
            seconds=0.0001 + (number % 13) * 1e-5,
            numerics=f"class {number % classes}",
        )
        for number in range(2000)
    ]
    began = time.process_time()
    model = model_of(*servers, num_layers=4096)
    took = time.process_time() - began

    assert len(model.servers) == 2000
    assert math.isfinite(model.best_route_tokens_per_second or 0.0)
    assert took < 1.5
    print(f"{classes} classes: {took:.3f} s")


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(1, 10), st.sampled_from([1e-5, 1e-3, 1e-2])), max_size=5
    )
)
def test_many_texts_together_are_never_slower_than_one(servers: list[tuple[int, int, float]]):
    """A route may use a fast server for some layers and a slow one for the rest."""
    slow = announced(0, 0, 10, seconds=0.01)
    others = [
        announced(number, start, min(10, start + length), seconds=seconds)
        for number, (start, length, seconds) in enumerate(servers, start=1)
    ]
    model = model_of(slow, *others)

    assert model.best_route_tokens_per_second and model.swarm_tokens_per_second
    assert model.swarm_tokens_per_second >= model.best_route_tokens_per_second


def test_how_servers_are_reached_is_shown_without_their_addresses():
    """A parked car is a home. A relay is one too, and is named by its short id."""
    relay = PeerId(peer_id(9))
    behind = announced(
        1, 0, 10, endpoints=("192.168.1.5:4600",), relays=(f"/ip4/203.0.113.9/tcp/4601/p2p/{relay}",)
    )
    public = announced(2, 0, 10, endpoints=("8.8.8.8:4600",), is_relay=True)
    first, second = sorted(
        model_of(behind, public, ways={behind.peer_id: Way.PUNCHED}).servers, key=lambda one: one.is_relay
    )

    assert (first.offers, first.relays, first.way) == (ClaimedReach.RELAYED, (short_id(relay),), Way.PUNCHED)
    assert (second.offers, second.relays, second.way) == (ClaimedReach.DIRECT, (), None)
    shown = str([as_json(state_of({LISTING: (behind, public)}))])
    assert not any(text in shown for text in ("192.168.1.5", "203.0.113.9", "8.8.8.8", "4601"))

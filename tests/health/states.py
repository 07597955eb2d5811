"""States of a swarm as tests want them: pleasant, hostile, and large. Plain data, no swarm behind it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import groupby

from p2pinfer.health.snapshot.state import (
    Activity,
    Answer,
    ContributionView,
    HealthState,
    ModelView,
    ProbeView,
    Sample,
    ServerView,
    Stretch,
)
from p2pinfer.swarm.reach.claimed import ClaimedReach
from p2pinfer.types import Way, short_id

NOW = 1_785_000_000.0
"""When all of it was generated, Unix seconds: a day in July 2026."""

JOIN_ADDRESS = "/dns4/swarm.example.org/tcp/4600/p2p/12D3KooWJoinJoinJoinJoinJoinJoinJoinJoinJoinJoinJoin"

HOSTILE_TEXTS = (
    "<script>document.title='owned'</script>",
    '"><img src=x onerror="document.title=\'owned\'">',
    "' onmouseover='document.title=1' x='",
    "javascript:document.title='owned'",
    "\x1b[31mred\x1b[0m \x1b]0;owned\x07\x1b[2J",
    "right \u202eto left\u202c \u2066isolated\u2069 \u200fmark",
    "two\nlines\r\nand\ta tab\x00\x7f\x85\u2028\u2029",
    "{{ 7 * 7 }} {% raw %} ${7*7} #{7} %s %(x)s {0}",
    "</textarea></title></style><!-- -->]]>",
    'quote " backslash \\ brace } label="x" 1 2',
    '=HYPERLINK("http://198.51.100.7";"click")',
    "zalgo " + "e\u0301\u0302\u0303\u0304\u0305" * 200,
    "wide 漢字かな交じり文 한국어 👩‍👩‍👧‍👦 🚗",
    "lone \ud800 surrogate",
    "data: x\n\nevent: owned\nid: 1",
    "M" * 2**20,
    "",
)
"""What strangers may call themselves."""


def peer_id(number: int) -> str:
    """The id of a peer that doesn't exist, each time the same: shaped like those that do."""
    letters = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    chooser = random.Random(number)
    return "12D3KooW" + "".join(chooser.choice(letters) for _ in range(44))


def model_hash(number: int) -> str:
    """The manifest hash of a model that doesn't exist."""
    return f"{random.Random(number).getrandbits(256):064x}"


def make_server(
    number: int = 0,
    layers: tuple[int, int] = (0, 30),
    *,
    state: Activity = Activity.SERVING,
    public_name: str | None = None,
    region: str = "",
    decode_tokens_per_second: float | None = 40.0,
    prefill_tokens_per_second: float | None = 900.0,
    long_decode_tokens_per_second: float | None = 25.0,
    batch_decode_tokens_per_second: float | None = 160.0,
    measured_at: float | None = NOW - 5.0,
    prefill_measured_at: float | None = NOW - 65.0,
    queue_depth: int = 0,
    free_cache_tokens: int = 120_000,
    version: str = "0.1.0",
    numerics: str = "native-1",
    offers: ClaimedReach = ClaimedReach.DIRECT,
    relays: tuple[str, ...] = (),
    is_relay: bool = False,
    way: Way | None = Way.DIRECT,
    since: float = NOW - 3600.0,
    leaves_at: float | None = None,
) -> ServerView:
    """One server; equal numbers are the same peer."""
    name = peer_id(number)
    return ServerView(
        peer_id=name,
        short_id=short_id(name),
        public_name=f"Car {number}" if public_name is None else public_name,
        region=region,
        start=layers[0],
        end=layers[1],
        state=state,
        decode_tokens_per_second=decode_tokens_per_second,
        prefill_tokens_per_second=prefill_tokens_per_second,
        long_decode_tokens_per_second=long_decode_tokens_per_second,
        batch_decode_tokens_per_second=batch_decode_tokens_per_second,
        measured_at=measured_at,
        prefill_measured_at=prefill_measured_at,
        queue_depth=queue_depth,
        free_cache_tokens=free_cache_tokens,
        version=version,
        numerics=numerics,
        offers=offers,
        relays=relays,
        is_relay=is_relay,
        way=way,
        since=since,
        leaves_at=leaves_at,
    )


def make_model(
    number: int = 0,
    *,
    name: str = "HuggingFaceTB/SmolLM2-135M-Instruct",
    num_layers: int = 30,
    servers: Sequence[ServerView] | None = None,
    answer: Answer | None = None,
    best_route_tokens_per_second: float | None = 38.5,
    swarm_tokens_per_second: float | None = 77.0,
    probe: ProbeView | None = None,
) -> ModelView:
    """One model; coverage, and the answer if none is given, follow from its servers (of one class)."""
    if servers is None:
        servers = [
            make_server(0, (0, 15)),
            make_server(1, (0, 15), region="DE"),
            make_server(2, (15, 30)),
            make_server(3, (10, 30), leaves_at=NOW + 900.0),
            make_server(4, (0, 30), state=Activity.JOINING),
        ]
    coverage = _coverage(servers, num_layers)
    weakest = min(stretch.replicas for stretch in coverage)
    return ModelView(
        model=model_hash(number),
        name=name,
        num_layers=num_layers,
        answer=answer or (Answer.NO if not weakest else Answer.THIN if weakest == 1 else Answer.YES),
        missing=tuple((stretch.start, stretch.end) for stretch in coverage if not stretch.replicas),
        coverage=coverage,
        wanted=tuple(stretch for stretch in coverage if stretch.replicas == weakest),
        best_route_tokens_per_second=best_route_tokens_per_second if weakest else None,
        swarm_tokens_per_second=swarm_tokens_per_second if weakest else None,
        servers=tuple(servers),
        probe=probe,
    )


def make_probe(
    *,
    at: float = NOW - 20.0,
    works: bool = True,
    detail: str = "",
    first_token_seconds: float | None = 0.42,
    tokens_per_second: float | None = 31.0,
    route: tuple[tuple[str, int, int], ...] | None = None,
) -> ProbeView:
    """What came out when the page asked the model something."""
    if route is None:
        route = ((short_id(peer_id(0)), 0, 15), (short_id(peer_id(2)), 15, 30))
    return ProbeView(
        at=at,
        works=works,
        detail=detail,
        first_token_seconds=first_token_seconds,
        tokens_per_second=tokens_per_second,
        route=route,
        route_ways=(Way.DIRECT,) * len(route),
    )


def make_contribution(
    number: int = 0, *, public_name: str | None = None, decode_layer_tokens: int = 1_234_567
) -> ContributionView:
    """A line of the leaderboard."""
    name = peer_id(number)
    return ContributionView(
        peer_id=name,
        short_id=short_id(name),
        public_name=f"Car {number}" if public_name is None else public_name,
        prefill_layer_tokens=decode_layer_tokens * 3,
        decode_layer_tokens=decode_layer_tokens,
        sponsors=2,
    )


def make_samples(count: int = 60, *, step_seconds: float = 60.0, servers: int = 4) -> list[Sample]:
    """A history that ends NOW, with an outage in its middle."""
    samples = []
    for index in range(count):
        out = index == count // 2
        samples.append(
            Sample(
                at=NOW - (count - 1 - index) * step_seconds,
                servers=0 if out else servers + index % 3,
                weakest_replicas=0 if out else 1 + index % 2,
                swarm_tokens_per_second=0.0 if out else 70.0 + index % 5,
                probe_tokens_per_second=None if out or index % 4 else 30.0,
            )
        )
    return samples


def make_state(
    models: Sequence[ModelView] | None = None,
    servers: Sequence[ServerView] | None = None,
    *,
    num_layers: int = 30,
    contributions: Sequence[ContributionView] = (),
    probe: ProbeView | None = None,
    generated_at: float = NOW,
    fresh: bool = True,
    detail: str = "",
    version: str = "0.1.0",
    join_addresses: tuple[str, ...] = (JOIN_ADDRESS,),
    join_model: str = "",
) -> HealthState:
    """These models; or one model, of `num_layers`, that these servers (default: five) serve."""
    if models is None:
        models = [make_model(servers=servers, num_layers=num_layers, probe=probe)]
    return HealthState(
        generated_at=generated_at,
        fresh=fresh,
        detail=detail,
        version=version,
        join_addresses=join_addresses,
        join_model=join_model,
        models=tuple(models),
        contributions=tuple(contributions),
    )


def hostile_state() -> HealthState:
    """What can't get past the swarm's checks, nor through report.py: every renderer must stand it anyway."""
    numbers = (float("nan"), 1e308, -1.0, float("inf"), float("-inf"), 5e-324, -0.0, 2.0**63)
    servers = [
        ServerView(
            peer_id=text if index % 2 else peer_id(index),
            short_id=text[-6:],
            public_name=text,
            region=text,
            start=(0, -5, 10**9, 7)[index % 4],
            end=(10**9, 3, -(10**9), 7)[index % 4],
            state=list(Activity)[index % 3],
            decode_tokens_per_second=numbers[index % len(numbers)],
            prefill_tokens_per_second=numbers[(index + 1) % len(numbers)],
            long_decode_tokens_per_second=numbers[(index + 4) % len(numbers)],
            batch_decode_tokens_per_second=numbers[(index + 6) % len(numbers)],
            measured_at=numbers[(index + 5) % len(numbers)],
            prefill_measured_at=numbers[(index + 7) % len(numbers)],
            queue_depth=(-1, 10**30, 0)[index % 3],
            free_cache_tokens=(2**80, -1, 0)[index % 3],
            version=text,
            numerics=text,
            offers=list(ClaimedReach)[index % len(ClaimedReach)],
            relays=(text,) * (index % 6),
            is_relay=bool(index % 2),
            way=(*Way, None)[index % (len(Way) + 1)],
            since=numbers[(index + 2) % len(numbers)],
            leaves_at=numbers[(index + 3) % len(numbers)],
        )
        for index, text in enumerate(HOSTILE_TEXTS)
    ]
    models = []
    for index, text in enumerate(HOSTILE_TEXTS):
        number = numbers[index % len(numbers)]
        models.append(
            ModelView(
                model=text if index % 2 else model_hash(index),
                name=text,
                num_layers=(10**9, 1, 30, -1, 0)[index % 5],
                answer=list(Answer)[index % 3],
                missing=((0, 10**9), (-3, -7), (5, 5)),
                coverage=(
                    Stretch(start=0, end=10**9, replicas=10**12),
                    Stretch(start=-1, end=-2, replicas=-1),
                ),
                wanted=(Stretch(start=5, end=5, replicas=10**12), Stretch(start=-1, end=10**9, replicas=-1)),
                best_route_tokens_per_second=number,
                swarm_tokens_per_second=number,
                servers=tuple(servers),
                probe=ProbeView(
                    at=number,
                    works=bool(index % 2),
                    detail=text,
                    first_token_seconds=number,
                    tokens_per_second=number,
                    route=((text, -1, 10**9),) * 3,
                    route_ways=(Way.RELAYED, None),
                ),
            )
        )
    contributions = [
        ContributionView(
            peer_id=text,
            short_id=text[-6:],
            public_name=text,
            prefill_layer_tokens=2**90,
            decode_layer_tokens=-1,
            sponsors=-(2**70),
        )
        for text in HOSTILE_TEXTS
    ]
    return HealthState(
        generated_at=float("nan"),
        fresh=False,
        detail=HOSTILE_TEXTS[0] + HOSTILE_TEXTS[4],
        version=HOSTILE_TEXTS[2],
        join_addresses=HOSTILE_TEXTS[:6],
        join_model=HOSTILE_TEXTS[1],
        models=tuple(models),
        contributions=tuple(contributions),
    )


def large_state(servers: int = 500, *, num_layers: int = 80) -> HealthState:
    """One model and `servers` servers of all kinds; always the same."""
    chooser = random.Random(servers)
    everyone = []
    for number in range(servers):
        start = chooser.randrange(num_layers)
        end = min(num_layers, start + chooser.randint(1, 24))
        everyone.append(
            make_server(
                number,
                (start, end),
                state=chooser.choices(list(Activity), weights=(1, 8, 1))[0],
                region=chooser.choice(["", "", "DE", "NO", "California"]),
                decode_tokens_per_second=round(chooser.uniform(5.0, 300.0), 1),
                prefill_tokens_per_second=round(chooser.uniform(100.0, 5000.0), 1),
                queue_depth=chooser.randrange(6),
                free_cache_tokens=chooser.randrange(2_000_000),
                numerics=chooser.choice(["native-1", "native-1", "native-1", "reference-1"]),
                way=list(Way)[number % len(Way)],
                since=NOW - chooser.uniform(0.0, 86_400.0),
                leaves_at=NOW + chooser.uniform(0.0, 7200.0) if chooser.random() < 0.2 else None,
            )
        )
    model = make_model(name="meta-llama/Llama-3.1-70B", num_layers=num_layers, servers=everyone)
    contributions = [
        make_contribution(number, decode_layer_tokens=(100 - number) * 1_000_000) for number in range(100)
    ]
    return make_state([model], contributions=contributions)


def _coverage(servers: Sequence[ServerView], num_layers: int) -> tuple[Stretch, ...]:
    counts = [
        sum(server.state is Activity.SERVING and server.start <= layer < server.end for server in servers)
        for layer in range(num_layers)
    ]
    stretches, start = [], 0
    for replicas, group in groupby(counts):
        end = start + len(list(group))
        stretches.append(Stretch(start=start, end=end, replicas=replicas))
        start = end
    return tuple(stretches)

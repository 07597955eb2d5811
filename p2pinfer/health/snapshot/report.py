"""From the announcements of a swarm to the state that the page shows. Pure: no network, no clock.

The swarm has checked announcements already. They are cleaned here once more, for all renderings at once:
texts are short and in one line, numbers are finite and plausible or None, and lists are bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from p2pinfer.health.snapshot.estimates import ServingSpeed, best_route_seconds, stretches_of, weakest
from p2pinfer.health.snapshot.plain import (
    LATEST_TIME,
    MOST_TOKENS_PER_SECOND,
    clean_count,
    clean_number,
    clean_text,
    without_addresses,
)
from p2pinfer.health.snapshot.sampled import SampleSize, population_of
from p2pinfer.health.snapshot.state import (
    BATCH_TEXTS,
    LONG_CONTEXT_TOKENS,
    Activity,
    Answer,
    ContributionView,
    HealthState,
    ModelView,
    ProbeView,
    Sample,
    ServerView,
)
from p2pinfer.swarm.census.strength import (
    FASTEST_SECONDS,
    SLOWEST_SECONDS,
    claimed_now,
    classes,
    expected,
    seconds_per_layer,
    strongest,
)
from p2pinfer.swarm.census.stretches import replicas
from p2pinfer.swarm.reach.claimed import claimed_reach, relays_of
from p2pinfer.swarm.records.announcement import MAX_RELAYS, Announcement, ServerState
from p2pinfer.swarm.records.bounds import MAX_LAYERS
from p2pinfer.swarm.records.listing import ModelListing
from p2pinfer.types import LayerSeconds, PeerId, Way, short_id

MAX_MODELS = 64
MAX_SERVERS = 4096
"""Servers listed in all models together. Coverage and estimates count all servers."""

MAX_CONTRIBUTIONS = 100

_MODEL_NAME_CHARACTERS = 128
_DETAIL_CHARACTERS = 300
_ADDRESS_CHARACTERS = 300
_MAX_ADDRESSES = 16
_MAX_HOPS = 256
_RELAY_CHARACTERS = 8  # of a short peer id
_NO_WAYS: Mapping[PeerId, Way] = {}
_YEAR_SECONDS = 366 * 86_400.0

_ACTIVITIES = {
    ServerState.JOINING: Activity.JOINING,
    ServerState.SERVING: Activity.SERVING,
    ServerState.DRAINING: Activity.DRAINING,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SwarmReading:
    """Every model of the swarm and its servers, from one reading."""

    models: Mapping[ModelListing, Sequence[Announcement]]
    samples: Mapping[str, SampleSize] = field(default_factory=dict)  # by manifest hash


def make_state(
    reading: SwarmReading,
    *,
    first_seen: Mapping[str, float],
    probes: Mapping[str, ProbeView],
    ways: Mapping[PeerId, Way] = _NO_WAYS,
    contributions: Sequence[ContributionView],
    generated_at: float,
    fresh: bool,
    detail: str,
    version: str,
    join_addresses: Sequence[str],
    join_model: str = "",
) -> HealthState:
    """The snapshot of a reading that was made at `generated_at`, Unix seconds.

    `first_seen` has the time since which a peer has been present without a break (missing: since now), and
    `probes` has the last probe of each model by manifest hash. `ways` says how the page has reached peers.
    Models come largest first, servers by their
    layers. Of more than MAX_MODELS models the largest are kept. Of more than MAX_SERVERS servers the largest
    models list fewer, first of all fewer servers that don't serve.
    """
    found: dict[str, tuple[ModelListing, list[Announcement]]] = {}
    for listing, announcements in reading.models.items():
        if 1 <= listing.num_layers <= MAX_LAYERS:
            present = _present(listing, announcements, generated_at)
            found.setdefault(clean_text(listing.model), (listing, present))
    largest = sorted(found.items(), key=lambda item: _rank(*item[1]))[:MAX_MODELS]
    shares = _shares([len(present) for _, (_, present) in largest], MAX_SERVERS)
    models = [
        _model_view(
            model,
            listing,
            present,
            most,
            first_seen,
            probes.get(listing.model),
            ways,
            reading.samples.get(listing.model),
            generated_at,
        )
        for (model, (listing, present)), most in zip(largest, shares, strict=True)
    ]
    return HealthState(
        generated_at=generated_at,
        fresh=fresh,
        detail=clean_text(without_addresses(detail[: 2 * _DETAIL_CHARACTERS]), _DETAIL_CHARACTERS),
        version=clean_text(version),
        join_addresses=tuple(
            clean_text(address, _ADDRESS_CHARACTERS) for address in join_addresses[:_MAX_ADDRESSES]
        ),
        join_model=clean_text(join_model, _ADDRESS_CHARACTERS),
        models=tuple(models),
        contributions=tuple(_clean_contribution(view) for view in contributions[:MAX_CONTRIBUTIONS]),
    )


def make_sample(model: ModelView, at: float) -> Sample:
    """One point of a model's history."""
    probe = model.probe
    serving = sum(server.state is Activity.SERVING for server in model.servers)
    return Sample(
        at=at,
        servers=model.population.about if model.population.is_sample else serving,
        weakest_replicas=0 if model.answer is Answer.NO else weakest(model.coverage),
        swarm_tokens_per_second=model.swarm_tokens_per_second or 0.0,
        probe_tokens_per_second=probe.tokens_per_second if probe and probe.works else None,
    )


def _present(listing: ModelListing, announcements: Iterable[Announcement], now: float) -> list[Announcement]:
    """Each present server once, with its newest announcement.

    A server that contradicts the model's number of layers is left out, because no client uses it.
    """
    newest: dict[PeerId, Announcement] = {}
    for announcement in announcements:
        if announcement.num_layers != listing.num_layers or announcement.layers.end > listing.num_layers:
            continue
        if not announcement.expires_at > now:
            continue
        other = newest.get(announcement.peer_id)
        if other is None or announcement.announced_at > other.announced_at:
            newest[announcement.peer_id] = announcement
    return [announcement for announcement in newest.values() if announcement.state in _ACTIVITIES]


def _rank(listing: ModelListing, present: Sequence[Announcement]) -> tuple[int, str, str]:
    """Sort key: largest first, in powers of two, so that models of similar size keep their places."""
    serving = sum(announcement.state is ServerState.SERVING for announcement in present)
    return -serving.bit_length(), clean_text(listing.model_name, _MODEL_NAME_CHARACTERS), listing.model


def _shares(wanted: Sequence[int], total: int) -> list[int]:
    """Shares of `total`: each gets what it wants, but at most an equal part of the remainder."""
    shares = [0] * len(wanted)
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    for done, index in enumerate(order):
        shares[index] = min(wanted[index], total // (len(order) - done))
        total -= shares[index]
    return shares


def _model_view(
    model: str,
    listing: ModelListing,
    present: Sequence[Announcement],
    most: int,
    first_seen: Mapping[str, float],
    probe: ProbeView | None,
    ways: Mapping[PeerId, Way],
    sample: SampleSize | None,
    now: float,
) -> ModelView:
    num_layers = listing.num_layers
    serving = [announcement for announcement in present if announcement.state is ServerState.SERVING]
    complete = {
        numerics: strength
        for numerics, strength in claimed_now(serving, num_layers).items()
        if strength.fewest_servers
    }
    coverage = stretches_of(replicas((announcement.layers for announcement in serving), num_layers))
    alike = classes(serving)
    routes = [best_route_seconds(_speeds(alike[numerics]), num_layers) for numerics in complete]
    fastest = min((seconds for seconds in routes if seconds), default=None)
    together = sum(strength.tokens_per_second for strength in complete.values())
    coming = {numerics: expected(some, num_layers, now) for numerics, some in classes(present).items()}
    helped = strongest(coming)
    population = population_of(sample, len(present))
    named = sample.listed if sample is not None else None
    listed = sorted(
        sorted(
            (one for one in present if named is None or one.peer_id in named),
            key=lambda one: (one.state is not ServerState.SERVING, one.layers, one.peer_id),
        )[:most],
        key=lambda one: (one.layers, one.peer_id),
    )
    return ModelView(
        model=model,
        name=clean_text(listing.model_name, _MODEL_NAME_CHARACTERS),
        num_layers=num_layers,
        answer=_answer(strength.fewest_servers for strength in complete.values()),
        missing=tuple((stretch.start, stretch.end) for stretch in coverage if not stretch.replicas),
        coverage=coverage,
        wanted=stretches_of(helped.wanted) if helped else coverage,
        best_route_tokens_per_second=1.0 / fastest if fastest else None,
        # Many texts together are no slower than one: the estimate for many counts only whole servers.
        swarm_tokens_per_second=max(together, 1.0 / fastest if fastest else 0.0) or None,
        servers=tuple(
            _server_view(one, first_seen.get(one.peer_id, now), ways.get(one.peer_id), now) for one in listed
        ),
        probe=_clean_probe(probe, names_peers=not population.is_sample) if probe else None,
        population=population,
    )


def _answer(spares: Iterable[int]) -> Answer:
    """From the replicas of the weakest layer of every numerics class that holds all layers.

    A server is in one class, so that two classes, however thin each is, outlive any one server; a text that
    was begun in the other can't be gone on with there, but is soon begun anew.
    """
    return (Answer.NO, Answer.THIN, Answer.YES)[min(sum(spares), 2)]


def _speeds(serving: Iterable[Announcement]) -> list[ServingSpeed]:
    return [ServingSpeed(layers=one.layers, seconds_per_layer=seconds_per_layer(one)) for one in serving]


def _rate(announcement: Announcement, line: LayerSeconds, context_tokens: int) -> float | None:
    """Tokens per second through all layers of a server, with this context; None: unknown or implausible."""
    if clean_number(line.first, FASTEST_SECONDS, SLOWEST_SECONDS) is None:
        return None
    seconds = clean_number(line.after(context_tokens), FASTEST_SECONDS, 36_000.0)
    return seconds and ServingSpeed(layers=announcement.layers, seconds_per_layer=seconds).tokens_per_second


def _batch_rate(announcement: Announcement) -> float | None:
    """Tokens per second of BATCH_TEXTS texts that a server decodes together; None: unknown or implausible."""
    alone = _rate(announcement, announcement.decode, 0)
    cost = clean_number(announcement.batch_costs.get(BATCH_TEXTS), 1.0, float(BATCH_TEXTS))
    return alone and cost and alone * BATCH_TEXTS / cost


def _server_view(announcement: Announcement, since: float, way: Way | None, now: float) -> ServerView:
    peer_id = clean_text(announcement.peer_id)
    since = clean_number(since, 0.0, LATEST_TIME) or now
    return ServerView(
        peer_id=peer_id,
        short_id=short_id(peer_id),
        public_name=clean_text(announcement.public_name),
        region=clean_text(announcement.region, 32),
        start=announcement.layers.start,
        end=announcement.layers.end,
        state=_ACTIVITIES[announcement.state],
        decode_tokens_per_second=_rate(announcement, announcement.decode, 0),
        prefill_tokens_per_second=_rate(announcement, announcement.prefill, 0),
        long_decode_tokens_per_second=_rate(announcement, announcement.decode, LONG_CONTEXT_TOKENS),
        batch_decode_tokens_per_second=_batch_rate(announcement),
        measured_at=clean_number(announcement.measured_at, now - _YEAR_SECONDS, now + _YEAR_SECONDS),
        prefill_measured_at=clean_number(
            announcement.prefill_measured_at, now - _YEAR_SECONDS, now + _YEAR_SECONDS
        ),
        queue_depth=clean_count(announcement.queue_depth, 1_000_000),
        free_cache_tokens=clean_count(announcement.free_cache_tokens, 2**40),
        version=clean_text(announcement.version, 32),
        numerics=clean_text(announcement.numerics),
        offers=claimed_reach(announcement),
        relays=tuple(clean_text(relay, _RELAY_CHARACTERS) for relay in relays_of(announcement)[:MAX_RELAYS]),
        is_relay=announcement.is_relay,
        way=way,
        since=min(since, now),
        leaves_at=clean_number(announcement.leaves_at, now - _YEAR_SECONDS, now + _YEAR_SECONDS),
    )


def _clean_probe(probe: ProbeView, *, names_peers: bool) -> ProbeView:
    """The detail may contain a server's words: the reason for a refusal.

    A large swarm's route leads through servers near the page, so it says nothing of who they are.
    """
    return replace(
        probe,
        detail=clean_text(without_addresses(probe.detail[: 2 * _DETAIL_CHARACTERS]), _DETAIL_CHARACTERS),
        first_token_seconds=clean_number(probe.first_token_seconds, 0.0, 86_400.0),
        tokens_per_second=clean_number(probe.tokens_per_second, 0.0, MOST_TOKENS_PER_SECOND),
        route=tuple(
            (clean_text(peer) if names_peers else "", start, end)
            for peer, start, end in probe.route[:_MAX_HOPS]
        ),
        route_ways=probe.route_ways[:_MAX_HOPS],
    )


def _clean_contribution(view: ContributionView) -> ContributionView:
    return replace(view, public_name=clean_text(view.public_name))

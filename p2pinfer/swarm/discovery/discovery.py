"""Announce this member, and find others: the servers of a model, and the models that there are.

A server is announced in the tree of its model, and in that of all models with a line of text. The line is
also kept under the server's own key, where a copy of its identity would give itself away.
"""

from __future__ import annotations

import random
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection
from dataclasses import replace

from p2pinfer.backoff import Chance
from p2pinfer.errors import SwarmError
from p2pinfer.identity import Identity
from p2pinfer.plain_text import foreign
from p2pinfer.swarm.cells.climb import is_crowded
from p2pinfer.swarm.cells.keys import MODELS, keys_of, peer_key
from p2pinfer.swarm.cells.place import DEPTH, ROOT, cell_of, children_of, place_of
from p2pinfer.swarm.coordinates.quantized import Quantized
from p2pinfer.swarm.discovery.announcing import Announcing, refusals
from p2pinfer.swarm.discovery.live import is_whole, live
from p2pinfer.swarm.discovery.network import Network
from p2pinfer.swarm.discovery.reading import SAMPLE_SECONDS, Reading
from p2pinfer.swarm.discovery.sampling import Sample, Sampling
from p2pinfer.swarm.gossip.gossip import Gossip
from p2pinfer.swarm.kademlia.validator import Record, newest, read_record
from p2pinfer.swarm.records.announcement import Announcement, ServerState, encode
from p2pinfer.swarm.records.bounds import check_model
from p2pinfer.swarm.records.listing import (
    ListingEntry,
    ModelListing,
    decode_listing,
    encode_listing,
    summarize,
)
from p2pinfer.swarm.records.signed import MAX_LIFETIME_SECONDS
from p2pinfer.tasks import all_of

MODELS_DEPTH = 1
"""Of the smallest cells in the tree of models: four, which a reader reads where the root is crowded."""
_MOST_OWN_RECORDS = 64  # that are told from a twin's: several minutes of heartbeats
_MOST_READINGS = 64
_EXPIRY_STEP_SECONDS = 0.001  # a record replaces another only if it expires later


class Discovery:
    """Of one member, for one event loop."""

    def __init__(
        self,
        network: Network,
        identity: Identity,
        where: Callable[[], Quantized],
        chance: Chance = random.random,
        gossip: Gossip | None = None,
    ) -> None:
        """`where` tells the cell of the network that this member is in, `gossip` its neighbours of us."""
        self._gossip = gossip
        self._network, self._identity, self._where, self._chance = network, identity, where, chance
        self._announcing: dict[str, Announcing] = {}
        self._last: dict[str, Announcement] = {}
        self._left: dict[str, dict[str, Announcement]] = {}  # by model and place, without tombstones yet
        self._readings: OrderedDict[str, Reading] = OrderedDict()
        self._pulled: tuple[tuple[str, str], float, Collection[Record]] = (("", ""), 0.0, ())
        self._sampling = Sampling(network)
        self._newest_expiry: dict[str, float] = {}
        self._joined_at = time.time()
        self._announced_at: deque[float] = deque(maxlen=_MOST_OWN_RECORDS)

    async def announce(self, announcement: Announcement) -> Announcement:
        """Put our record into the cells where it belongs, or replace it. Returns the announcement as stored.

        `expires_at` is moved up by a millisecond where the record would not replace the last one otherwise.
        Raises InvalidRecordError, naming the field, for a value out of bounds, and SwarmError if no peer
        keeps the record.
        """
        left = self._places_left(announcement)
        tombstones = {place: self._tombstone(_gone(last)) for place, last in left.items()}
        announcement = self._moved_up(announcement)
        record = read_record(encode(announcement, self._identity))
        line = self._line(announcement)
        self._announced_at.append(announcement.announced_at)
        self._last[announcement.model] = announcement
        servers, models = self._tree(announcement.model), self._tree(MODELS)
        if (reading := self._readings.get(announcement.model)) is not None and reading.depth is not None:
            servers.begin_at(reading.depth)
            if reading.stops_above(announcement.place, servers.climb.top):
                servers.try_again()
        if tombstones:
            servers.try_again()
        putting = [servers.put(record), self._network.put(self._own_key(), line, shared=False)]
        if servers.climb.top == 0:  # those of the root are enough to list a model
            putting.append(models.put(line))
        self._tell(record, servers.climb.home)
        answers, *_ = await all_of(*putting)
        for place, tombstone in tombstones.items():  # afterwards, so that no reader misses us meanwhile
            here = self._last.get(announcement.model, announcement).place
            await servers.replace_all(tombstone, but=keys_of(announcement.model, here))
            left.pop(place, None)
        self._tell(record, servers.climb.home)
        is_overtaken = self._newest_expiry[announcement.model] > announcement.expires_at  # by one of ours
        if all(answer.refusal for answer in answers) and not is_overtaken:
            reasons = "; ".join(map(foreign, refusals(answers)[:3]))
            raise SwarmError(f"no peer of the swarm keeps our record: {reasons or 'the network is down'}")
        return announcement

    async def withdraw(self, announcement: Announcement) -> None:
        """Replace our record by a tombstone: readers drop us at once, not only when the record expires."""
        gone = _gone(self._last.pop(announcement.model, announcement))
        left = [self._tombstone(_gone(last)) for last in self._left.pop(gone.model, {}).values()]
        tombstone, line = self._tombstone(gone), self._line(gone)
        self._announced_at.append(gone.announced_at)
        await all_of(
            self._tree(gone.model).replace_all(tombstone),
            *(self._tree(gone.model).replace_all(one, but=keys_of(gone.model, gone.place)) for one in left),
            self._tree(MODELS).replace_all(line),
            self._network.put(self._own_key(), line, shared=False),
            *([] if self._gossip is None else [self._gossip.withdraw(tombstone)]),
        )

    async def servers(self, model: str) -> list[Announcement]:
        """The live servers of a model, given by its manifest hash: verified, unexpired, one per peer.

        Of a large swarm those near us, and a sample of the others. Raises InvalidRecordError if `model` isn't
        a manifest hash.
        """
        check_model(model)
        reading = self._readings.setdefault(model, Reading(self._network, model))
        self._readings.move_to_end(model)
        if len(self._readings) > _MOST_READINGS:
            self._readings.popitem(last=False)
        place = place_of(self._where(), self._identity.peer_id)
        found = await reading.around(place, lambda some: is_whole(live(some, time.time())))
        if self._gossip is not None and reading.depth:
            found = newest([*found, *await self._pulled_of(model, cell_of(place, reading.depth), found)])
        return live(found, time.time())

    async def _pulled_of(self, model: str, cell: str, known: Collection[Record]) -> Collection[Record]:
        """What members of a cell tell that others hide. They aren't asked each time: it may take a second."""
        assert self._gossip is not None
        of, at, records = self._pulled
        now = time.time()
        if of != (model, cell) or not 0.0 <= now - at < SAMPLE_SECONDS:
            records = await self._gossip.pull(model, cell, known)
            self._pulled = ((model, cell), now, records)
        return records

    async def sample(self, model: str) -> Sample:
        """Servers of a model for somebody who shows them to others. Bounded reads, whatever the size.

        Raises InvalidRecordError if `model` isn't a manifest hash.
        """
        check_model(model)
        return await self._sampling.sample(model)

    async def models(self) -> list[ModelListing]:
        """The models that have layers on at least one server; of very many a sample."""
        reading = Reading(self._network, MODELS)
        lines = await reading.root()
        if is_crowded(len(lines)):
            lines = newest([*lines, *await reading.cells(children_of(ROOT))])
        return summarize(decode_listing(line.data) for line in lines)

    async def has_twin(self) -> bool:
        """True if another member has announced itself with our identity since we joined.

        Only a copy of our key can sign such a record. It replaces ours, as ours replaces it, and libp2p leads
        peers to one of the two at random.
        """
        lines = [
            decode_listing(record.data) for record in await self._network.get(self._own_key(), shared=False)
        ]
        return any(
            line.peer_id == self._identity.peer_id
            and not line.left
            and line.announced_at > self._joined_at
            and line.announced_at not in self._announced_at
            for line in lines
        )

    def sizes(self, model: str) -> dict[str, int]:
        """The records of each cell that was read when the servers of a model were read the last time."""
        reading = self._readings.get(model)
        return {} if reading is None else dict(reading.sizes)

    def _tree(self, tree: str) -> Announcing:
        # All lines of a model have one place: to split cells wouldn't part them.
        deepest = MODELS_DEPTH if tree == MODELS else DEPTH
        return self._announcing.setdefault(tree, Announcing(self._network, self._chance, deepest=deepest))

    def _places_left(self, announcement: Announcement) -> dict[str, Announcement]:
        """Where records of ours may be alive that this one doesn't replace: we have moved.

        A place stays among them until its tombstones are there: what announces may be cancelled, or fail.
        """
        left, last = self._left.setdefault(announcement.model, {}), self._last.get(announcement.model)
        if last is not None:
            left[last.place] = last
        now = time.time()
        for place in [place for place, one in left.items() if one.expires_at <= now]:
            del left[place]
        left.pop(announcement.place, None)
        return left

    def _own_key(self) -> list[bytes]:
        return [peer_key(self._identity.peer_id)]

    def _tombstone(self, gone: Announcement) -> Record:
        return read_record(encode(self._moved_up(gone), self._identity))

    def _tell(self, record: Record, home: int) -> None:
        if self._gossip is not None:
            self._gossip.announce(record, home)

    def _line(self, announcement: Announcement) -> Record:
        entry = ListingEntry(
            peer_id=announcement.peer_id,
            listing=ModelListing(
                model=announcement.model,
                model_name=announcement.model_name,
                num_layers=announcement.num_layers,
            ),
            left=announcement.state is ServerState.LEFT,
            announced_at=announcement.announced_at,
            expires_at=self._later(MODELS, announcement),
        )
        return read_record(encode_listing(entry, self._identity))

    def _moved_up(self, announcement: Announcement) -> Announcement:
        """The announcement with an expiry that replaces the last record of its tree."""
        expires_at = self._later(announcement.model, announcement)
        return replace(announcement, expires_at=expires_at)

    def _later(self, tree: str, announcement: Announcement) -> float:
        """When a record expires that replaces the last one of a tree.

        Not beyond what a record may live: that one is from before our clock was set back, and nobody has it.
        """
        expires_at = announcement.expires_at
        next_at = self._newest_expiry.get(tree, 0.0) + _EXPIRY_STEP_SECONDS
        if expires_at < next_at <= announcement.announced_at + MAX_LIFETIME_SECONDS:
            expires_at = next_at
        self._newest_expiry[tree] = expires_at
        return expires_at


def _gone(announcement: Announcement) -> Announcement:
    """A tombstone in the place of an announcement."""
    now = time.time()
    return replace(
        announcement,
        state=ServerState.LEFT,
        leaves_at=None,
        endpoints=(),
        certificate=b"",
        next_hop_seconds={},
        announced_at=now,
        expires_at=now + 1.0,  # it is moved up beyond the record that it replaces
    )

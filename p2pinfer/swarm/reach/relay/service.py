"""The relay of a member: it keeps reservations, passes streams on, and introduces members to each other."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from p2pinfer.errors import ProtocolError, SwarmError
from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.rates import RateBound, Rates
from p2pinfer.swarm.membership.daemon import Stream
from p2pinfer.swarm.open_files import allow_open_files
from p2pinfer.swarm.reach.relay.allowance import Allowance
from p2pinfer.swarm.reach.relay.circuits import Circuits
from p2pinfer.swarm.reach.relay.framing import (
    ask,
    beat,
    close_streams,
    read_message,
    until_closed,
    write_message,
)
from p2pinfer.swarm.reach.relay.messages import (
    Answer,
    Connect,
    Introduce,
    Introduction,
    Relayed,
    Request,
    Reserve,
    Status,
    decode_candidates,
    decode_request,
    encode_answer,
    encode_introduction,
    encode_relayed,
)
from p2pinfer.swarm.reach.relay.observed import candidates, full_maddrs, guest_at
from p2pinfer.swarm.reach.relay.passed import PASSED_ON, PassedOn
from p2pinfer.swarm.reach.relay.reservations import MAX_RESERVATIONS, Reservation, Reservations
from p2pinfer.swarm.reach.relay.sightings import Sightings
from p2pinfer.swarm.reach.relay.streams import MEET, RELAY, RELAYED, Streams
from p2pinfer.tasks import Nursery, cancel_and_wait
from p2pinfer.types import PeerId, short_id

OPEN_FILES = 2048
"""With so many a relay has room for all that it may do; with fewer, it takes 5/8 of them."""
MAX_REQUESTS = 256  # that are being answered, of all peers
MAX_REQUESTS_PER_PEER = 16
MAX_STREAMS_PER_PEER = 64  # circuits, requests, and what is refused
REQUESTS = RateBound(in_all=4800, per_source=960, per_key=240)
"""Of all kinds, a minute. A session opens a few tunnels, each by a request."""
INTRODUCTIONS = RateBound(in_all=600, per_source=24, per_key=6)
"""A minute, by who asks; there may be several behind one router."""
INTRODUCTIONS_TO = RateBound(in_all=600, per_source=60, per_key=60)
"""The same, by whom they are introduced to."""

_SILENT_SECONDS = 0.5  # then a stream without a request makes room for another one
_REQUEST_SECONDS = 5.0  # from the opening of a stream to its request
_TARGET_SECONDS = 5.0  # for a target to take a stream, or to answer
_ANSWER_SECONDS = 2.0
_CLOSE_SECONDS = 1.0  # for a peer to close its stream when it has read a refusal
_LOOK_SECONDS = 1.0  # between two looks at the allowance
_SHORTLY = 5.0  # come back in so many seconds

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayStats:
    """What a relay does now, and has done."""

    refusal: str  # why it passes nothing on; empty: it does
    reservations: int
    circuits: int
    relayed_bytes: int  # by this process; each was received once and sent once
    relayed_bytes_today: int
    bytes_per_second: float | None  # the limit of all circuits together; None: there is none


class RelayService:
    """Answers what peers ask of a relay, within the bounds here and the owner's allowance.

    `allowance()` is asked before each new reservation and circuit, and every second: when it refuses,
    reservations and circuits end, and their peers go to other relays. As `async with`.
    """

    def __init__(
        self,
        streams: Streams,
        allowance: Callable[[], Allowance],
        *,
        passed: PassedOn = PASSED_ON,
    ) -> None:
        self._streams = streams
        self._allowance = allowance
        self._passed = passed
        self._room = allow_open_files(OPEN_FILES) // 8  # a circuit takes two, the rest one
        self._reservations = Reservations(min(MAX_RESERVATIONS, self._room))
        self._circuits = Circuits(passed)
        self._sightings = Sightings(streams)
        self._holding: dict[Reservation, asyncio.Task[None]] = {}
        self._asking: Counter[PeerId] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._streams_of: Counter[PeerId] = Counter()
        self._silent: dict[asyncio.Task[None], float] = {}  # wait for their request since then
        self._requests = Rates(REQUESTS)
        self._introductions = Rates(INTRODUCTIONS)
        self._introductions_to = Rates(INTRODUCTIONS_TO)
        self._watching = Nursery()
        self._closed = False

    async def __aenter__(self) -> Self:
        await self._streams.add_stream_handler(RELAY, self._on_stream)
        await self._watching.__aenter__()  # if it fails, the owner's block ends: nobody would obey
        self._watching.start(self._watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        try:
            await self._streams.remove_stream_handler(RELAY)
            await cancel_and_wait(*self._tasks)
        finally:
            await self._watching.__aexit__(kind, error, trace)

    def stats(self) -> RelayStats:
        """What the owner's pages show."""
        allowance = self._allowance()
        return RelayStats(
            refusal=allowance.refusal,
            reservations=len(self._reservations),
            circuits=len(self._circuits),
            relayed_bytes=self._passed.total_bytes,
            relayed_bytes_today=self._passed.today_bytes,
            bytes_per_second=allowance.bytes_per_second,
        )

    async def _watch(self) -> None:
        """Obey the allowance as it changes."""
        while True:
            allowance = self._allowance()
            self._circuits.set_rate(allowance.bytes_per_second)
            if allowance.refusal and (self._holding or len(self._circuits)):
                _logger.info(
                    "relaying stops: %s; reservations=%d circuits=%d",
                    allowance.refusal, len(self._holding), len(self._circuits),
                )  # fmt: skip
                await self._circuits.end_all()
                await cancel_and_wait(*self._holding.values())
            await asyncio.sleep(_LOOK_SECONDS)

    async def _on_stream(self, peer_id: PeerId, stream: Stream) -> None:
        """Answer one stream, and close it."""
        task = asyncio.current_task()
        assert task is not None
        most = min(MAX_REQUESTS, self._room)
        is_flood = len(self._tasks) >= 4 * self._room and not self._end_one_silent()
        if self._closed or is_flood or self._streams_of[peer_id] >= MAX_STREAMS_PER_PEER:
            await close_streams(stream)  # not even a refusal
            return
        self._tasks.add(task)
        self._streams_of[peer_id] += 1
        try:
            is_full = self._asking.total() >= most and not self._end_one_silent()
            if is_full or self._asking[peer_id] >= MAX_REQUESTS_PER_PEER:
                # Read first: closing a stream with bytes left to read would take the answer away.
                with suppress(TimeoutError, ProtocolError):
                    async with asyncio.timeout(_ANSWER_SECONDS):
                        await read_message(stream[0])
                await _end_with(stream, _refusal(Status.LIMIT, "too many requests at the same time"))
            else:
                await self._serve(peer_id, stream)
        except SwarmError as error:
            await _end_with(stream, _refusal(Status.FAILED, str(error), _SHORTLY))
        except (OSError, EOFError) as error:
            _logger.debug("relay stream ended peer=%s reason=%r", short_id(peer_id), error)
        except asyncio.CancelledError:
            if not self._closed:
                _logger.debug("relay stream ended by us peer=%s", short_id(peer_id))
        finally:
            self._tasks.discard(task)
            self._streams_of -= Counter({peer_id: 1})
            await close_streams(stream, flush_seconds=_ANSWER_SECONDS)

    def _end_one_silent(self) -> bool:
        """End the stream that has waited longest for its request: who asks does so at once."""
        now = asyncio.get_running_loop().time()
        for task, since in self._silent.items():  # the oldest first
            if now - since < _SILENT_SECONDS:
                break
            del self._silent[task]
            task.cancel()
            return True
        return False

    async def _request(self, peer_id: PeerId, stream: Stream) -> Request:
        """Read what a peer asks. Raises ProtocolError, TimeoutError, and OSError or EOFError."""
        task = asyncio.current_task()
        assert task is not None
        self._silent[task] = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                return decode_request(await read_message(stream[0]), peer_id)
        finally:
            self._silent.pop(task, None)

    async def _serve(self, peer_id: PeerId, stream: Stream) -> None:
        with self._counted(peer_id):
            try:
                request = await self._request(peer_id, stream)
            except ProtocolError as error:
                await _end_with(stream, _refusal(Status.BAD_REQUEST, str(error)))
                return
            except TimeoutError:
                await _end_with(stream, _refusal(Status.BAD_REQUEST, "no request came"))
                return
            allowance = self._allowance()
            if allowance.refusal:
                answer = _refusal(Status.NO_RELAY, allowance.refusal, allowance.come_back_seconds)
                await _end_with(stream, answer)
                return
            seen = await self._sightings.of(peer_id)
            guest = guest_at(peer_id, seen)
            if (seconds := self._requests.use(guest, asyncio.get_running_loop().time())) > 0:
                await _end_with(stream, _refusal(Status.LIMIT, "too many requests in a minute", seconds))
                return
            if not isinstance(request, Reserve) and request.target not in self._reservations:
                await _end_with(stream, _not_here())
                return
            if isinstance(request, Introduce):
                await _end_with(stream, await self._introduce(peer_id, request, seen, guest))
                return
        if isinstance(request, Reserve):
            await self._hold(peer_id, stream, seen, guest, allowance)
        else:
            await self._connect(peer_id, request, stream, guest, allowance)

    async def _hold(
        self, peer_id: PeerId, stream: Stream, seen: tuple[str, ...], guest: Guest, allowance: Allowance
    ) -> None:
        """Keep a reservation until its stream ends, or the peer makes another one."""
        task = asyncio.current_task()
        assert task is not None
        reservation = Reservation(peer_id, guest, asyncio.get_running_loop().time())
        goes = self._reservations.replace(reservation)
        if isinstance(goes, Status):
            whose = "of this network" if goes is Status.LIMIT else "at this relay"
            await _end_with(stream, _refusal(goes, f"all places {whose} are taken", 60.0))
            return
        self._holding[reservation] = task
        try:
            for other in goes:
                if (holding := self._holding.pop(other, None)) is not None:
                    holding.cancel()
            answer = Answer(
                status=Status.OK,
                maddrs=full_maddrs(peer_id, seen),
                circuits_per_client=allowance.max_circuits_per_client,
                bits_per_second=int(8 * (allowance.bytes_per_second or 0)),
            )
            await _answer(stream, answer)
            reason = await beat(stream)
            _logger.debug("reservation ended peer=%s reason=%s", short_id(peer_id), reason)
        finally:
            self._reservations.remove(reservation)
            self._holding.pop(reservation, None)

    async def _connect(
        self, peer_id: PeerId, request: Connect, stream: Stream, guest: Guest, allowance: Allowance
    ) -> None:
        """Join the asker's stream with a new one to the target."""
        most = min(allowance.max_circuits, self._room)
        per_client = allowance.max_circuits_per_client
        if (status := self._circuits.refusal(guest, most, per_client)) is not None:
            whose = "of this member" if status is Status.LIMIT else "of this relay"
            await _end_with(stream, _refusal(status, f"all circuits {whose} are in use", _SHORTLY))
            return
        circuit = self._circuits.take(peer_id, guest)
        try:
            async with self._to_target(request.target, RELAYED) as target:
                await write_message(target[1], encode_relayed(Relayed(peer_id, request.proof)))
                await _answer(stream, Answer(status=Status.OK))
                await self._circuits.join(circuit, stream, target)
        except SwarmError as error:
            await _end_with(stream, self._failed(request.target, error))
        finally:
            self._circuits.free(circuit)

    async def _introduce(
        self, peer_id: PeerId, request: Introduce, seen: tuple[str, ...], guest: Guest
    ) -> Answer:
        """Tell asker and target where the other is. Returns the answer for the asker."""
        now = asyncio.get_running_loop().time()
        if (seconds := self._introductions.use(guest, now)) > 0:
            return _refusal(Status.LIMIT, "too many introductions in a minute", seconds)
        if (seconds := self._introductions_to.use(Guest(key=request.target.encode()), now)) > 0:
            return _refusal(Status.LIMIT, "too many introductions to this peer in a minute", seconds)
        introduction = Introduction(peer_id, candidates(full_maddrs(peer_id, seen), request.maddrs))
        target = request.target
        try:
            async with self._to_target(target, MEET) as stream:
                claimed = await ask(
                    stream,
                    encode_introduction(introduction),
                    lambda data: decode_candidates(data, target),
                    _TARGET_SECONDS,
                )
        except SwarmError as error:
            return self._failed(target, error)
        target_seen = full_maddrs(target, await self._sightings.of(target))
        return Answer(status=Status.OK, maddrs=candidates(target_seen, claimed))

    @asynccontextmanager
    async def _to_target(self, target: PeerId, protocol: str) -> AsyncIterator[Stream]:
        """A stream to a peer that holds a reservation. Raises SwarmError if it doesn't take one in time."""
        try:
            async with asyncio.timeout(_TARGET_SECONDS):
                stream = await self._streams.open_stream(target, protocol)
        except TimeoutError as error:
            raise SwarmError(f"it took no stream within {_TARGET_SECONDS:g} s") from error
        try:
            yield stream
        finally:
            await close_streams(stream, flush_seconds=_ANSWER_SECONDS)

    def _failed(self, target: PeerId, error: SwarmError) -> Answer:
        """The answer when a target didn't take a stream: it may have left just now."""
        _logger.debug("target failed peer=%s reason=%s", short_id(target), error)
        if target not in self._reservations:
            return _not_here()
        return _refusal(Status.FAILED, "the peer is here, but doesn't answer", _SHORTLY)

    @contextmanager
    def _counted(self, peer_id: PeerId) -> Iterator[None]:
        self._asking[peer_id] += 1
        try:
            yield
        finally:
            self._asking -= Counter({peer_id: 1})


def _refusal(status: Status, reason: str, come_back_seconds: float = 0.0) -> Answer:
    return Answer(status=status, reason=reason, come_back_seconds=come_back_seconds)


def _not_here() -> Answer:
    return _refusal(Status.NOT_HERE, "the peer holds no reservation here")


async def _answer(stream: Stream, answer: Answer) -> None:
    """Send an answer, unless the peer doesn't take it in time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_ANSWER_SECONDS):
            await write_message(stream[1], encode_answer(answer))


async def _end_with(stream: Stream, answer: Answer) -> None:
    """Send the last answer on a stream."""
    await _answer(stream, answer)
    await until_closed(stream, _CLOSE_SECONDS)

"""What a member asks of relays, and what it hears through them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager

from p2pinfer.errors import PeerGoneError, ProtocolError, RelayRefusedError, SwarmError
from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.rates import RateBound, Rates
from p2pinfer.swarm.membership.daemon import Stream
from p2pinfer.swarm.reach.relay.framing import (
    ask,
    beat,
    close_streams,
    read_message,
    until_closed,
    write_message,
)
from p2pinfer.swarm.reach.relay.messages import (
    MAX_MADDRS,
    Answer,
    Connect,
    Introduce,
    Request,
    Reserve,
    Status,
    decode_answer,
    decode_introduction,
    decode_relayed,
    encode_candidates,
    encode_request,
)
from p2pinfer.swarm.reach.relay.proof import Proofs, prove
from p2pinfer.swarm.reach.relay.streams import BEAT_SECONDS, MEET, RELAY, RELAYED, Streams
from p2pinfer.tasks import cancel_and_wait
from p2pinfer.types import PeerId, short_id

RelayedHandler = Callable[[PeerId, Stream, PeerId], Awaitable[None]]
"""Takes who has asked for a stream, the stream, and the relay that passes it on. The handler closes it."""

IntroductionHandler = Callable[[PeerId, tuple[str, ...]], Awaitable[Collection[str]]]
"""Takes a peer and where to dial it; returns where it can dial this member. Within a second or two."""

_OPEN_SECONDS = 5.0
_ANSWER_SECONDS = 7.0  # a relay waits 5 s for the target
_MEETING_SECONDS = 12.0  # the relay waits for two steps of the target
_FIRST_MESSAGE_SECONDS = 5.0
_INTRODUCTIONS = RateBound(in_all=600, per_source=60, per_key=60)
"""A minute, of each relay: one that asks too often takes nothing from the others."""

_logger = logging.getLogger(__name__)


class Reservation:
    """A place at a relay, as its holder sees it."""

    def __init__(self, relay: PeerId, answer: Answer, beating: asyncio.Task[str]) -> None:
        self.relay = relay
        self.observed = answer.maddrs
        """Full multiaddresses where the relay sees this member: behind a router, the router's."""
        self.circuits_per_client = answer.circuits_per_client
        self.bits_per_second = answer.bits_per_second or None
        """Of all streams of the relay together, each way; None: unlimited."""
        self._beating = beating

    @property
    def is_lost(self) -> bool:
        """True once the relay has ended the reservation, or is gone."""
        return self._beating.done()

    async def lost(self) -> str:
        """Wait until the reservation is lost; returns why, for people."""
        return await asyncio.shield(self._beating)


@asynccontextmanager
async def reserve(
    streams: Streams, relay: PeerId, *, beat_seconds: float = BEAT_SECONDS
) -> AsyncIterator[Reservation]:
    """Hold a reservation at a relay that is connected, until the block ends or the relay ends it.

    Raises RelayRefusedError if the relay refuses, SwarmError if it doesn't answer.
    """
    stream = await _open(streams, relay)
    try:
        answer = await _asked(relay, stream, Reserve(), streams.peer_id, _ANSWER_SECONDS)
        beating = asyncio.create_task(beat(stream, beat_seconds=beat_seconds))
        try:
            yield Reservation(relay, answer, beating)
        finally:
            await cancel_and_wait(beating)
    finally:
        await close_streams(stream)


async def connect_through(streams: Streams, relay: PeerId, target: PeerId) -> Stream:
    """Open a stream to `target` through a relay; the caller closes it.

    Raises PeerGoneError if the target holds no reservation there, RelayRefusedError if the relay refuses for
    another reason, SwarmError if it doesn't answer.
    """
    stream = await _open(streams, relay)
    try:
        proof = prove(streams.sign, relay, target, time.time())
        await _asked(relay, stream, Connect(target, proof), target, _ANSWER_SECONDS)
    except BaseException:
        await close_streams(stream)
        raise
    return stream


async def introduce(
    streams: Streams, relay: PeerId, target: PeerId, maddrs: Collection[str]
) -> tuple[str, ...]:
    """Let a relay tell `target` to dial us now; returns full multiaddresses where to dial the target.

    `maddrs` are full ones of this member; those at IP addresses from which the relay doesn't see it are
    dropped, and those where it does are added. Raises as `connect_through`.
    """
    stream = await _open(streams, relay)
    try:
        request = Introduce(target, tuple(maddrs)[:MAX_MADDRS])
        return (await _asked(relay, stream, request, target, _MEETING_SECONDS)).maddrs
    finally:
        await close_streams(stream)


@asynccontextmanager
async def on_relayed(
    streams: Streams, handler: RelayedHandler, is_relay: Callable[[PeerId], bool]
) -> AsyncIterator[None]:
    """Let `handler` take the streams that relays pass on, until the block ends.

    `is_relay` says from which peers: those where this member holds a reservation. Who asks has proved it.
    """
    proofs = Proofs(streams.peer_id)

    async def on_stream(relay: PeerId, stream: Stream) -> None:
        try:
            if not is_relay(relay):
                raise ProtocolError("not a relay of ours")
            async with asyncio.timeout(_FIRST_MESSAGE_SECONDS):
                relayed = decode_relayed(await read_message(stream[0]))
            proofs.check(relayed.proof, relayed.asker, relay, time.time())
        except (OSError, EOFError, ProtocolError) as error:  # TimeoutError is an OSError
            _logger.debug("no relayed stream relay=%s reason=%r", short_id(relay), error)
            await close_streams(stream)
            return
        except BaseException:
            await close_streams(stream)
            raise
        await handler(relayed.asker, stream, relay)

    await streams.add_stream_handler(RELAYED, on_stream)
    try:
        yield
    finally:
        await streams.remove_stream_handler(RELAYED)


@asynccontextmanager
async def on_introduction(
    streams: Streams, handler: IntroductionHandler, is_relay: Callable[[PeerId], bool]
) -> AsyncIterator[None]:
    """Let `handler` hear who wants to meet this member, until the block ends.

    `is_relay` says from which peers: those where this member holds a reservation.
    """
    introductions = Rates(_INTRODUCTIONS)

    async def on_stream(relay: PeerId, stream: Stream) -> None:
        try:
            now = asyncio.get_running_loop().time()
            if not is_relay(relay) or introductions.use(Guest(key=relay.encode()), now) > 0:
                raise ProtocolError("not a relay of ours, or one that asks too often")
            async with asyncio.timeout(_FIRST_MESSAGE_SECONDS):
                introduction = decode_introduction(await read_message(stream[0]))
                own = await handler(introduction.asker, introduction.maddrs)
                await write_message(stream[1], encode_candidates(tuple(own)[:MAX_MADDRS]))
            await until_closed(stream, 1.0)
        except (OSError, EOFError, ProtocolError, SwarmError) as error:
            _logger.debug("no introduction relay=%s reason=%r", short_id(relay), error)
        finally:
            await close_streams(stream)

    await streams.add_stream_handler(MEET, on_stream)
    try:
        yield
    finally:
        await streams.remove_stream_handler(MEET)


async def _open(streams: Streams, relay: PeerId) -> Stream:
    try:
        async with asyncio.timeout(_OPEN_SECONDS):
            return await streams.open_stream(relay, RELAY)
    except TimeoutError as error:
        raise SwarmError(f"relay {short_id(relay)} took no stream within {_OPEN_SECONDS:g} s") from error


async def _asked(relay: PeerId, stream: Stream, request: Request, owner: PeerId, seconds: float) -> Answer:
    """The relay's answer if it is OK; its multiaddresses are those of `owner`."""
    try:
        answer = await ask(stream, encode_request(request), lambda data: decode_answer(data, owner), seconds)
    except SwarmError as error:
        raise SwarmError(f"relay {short_id(relay)}: {error}") from error
    match answer.status:
        case Status.OK:
            return answer
        case Status.NOT_HERE:
            raise PeerGoneError(f"peer {short_id(owner)} isn't at relay {short_id(relay)} any more")
        case _:
            raise RelayRefusedError(relay, answer.reason or answer.status.name, answer.come_back_seconds)

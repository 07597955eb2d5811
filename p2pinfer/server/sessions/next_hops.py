"""The lanes to sessions' next hops: dialled at opening, and again when the client names another hop.

A hop that takes another's place is told first what the other was sent. Meanwhile the other is served. The
computing thread exchanges the two, because only it knows when nothing is left to tell.

The client is told how the next hop is reached: a tunnel moves from a relay to a direct connection, and back,
while sessions go on.

A client must not learn from here which doors are open somewhere: one answer tells every failure, after the
same time, and few doors are tried for a client that have not opened before.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from p2pinfer.errors import HopFailedError, InvalidRecordError, ProtocolError
from p2pinfer.fairness.guest import Guest
from p2pinfer.server.sessions import rest_writer
from p2pinfer.server.sessions.dial_allowance import DialAllowance
from p2pinfer.server.sessions.lease import Lease
from p2pinfer.server.sessions.next_record import check_next
from p2pinfer.server.sessions.running_session import RunningSession
from p2pinfer.server.streams.packing import Piece
from p2pinfer.swarm.records import announcement
from p2pinfer.tasks import ended, undisturbed
from p2pinfer.types import Address, PeerId, Way
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.dialling import CONNECT_SECONDS, Ways, way_taken
from p2pinfer.wire.hello import Hello, Role
from p2pinfer.wire.lane_handshake import lane_to
from p2pinfer.wire.lanes import Lane, deliver
from p2pinfer.wire.opening import check_downstream, way_number
from p2pinfer.wire.status import Reason, Refused

logger = logging.getLogger(__name__)

DIAL_SECONDS = CONNECT_SECONDS
"""Every dial that fails takes this long."""
LOOK_SECONDS = 2.0
"""How often to look whether a tunnel has changed its way."""


@dataclass(slots=True, kw_only=True)
class NextHop:
    """A lane to a session at another server, and what keeps it open."""

    peer_id: PeerId
    session_id: bytes
    steps_key: bytes
    lane: Lane
    resources: AsyncExitStack

    def is_named_by(self, target: pb.Downstream) -> bool:
        """True if the client names this lane."""
        return (self.session_id, self.steps_key) == (target.session_id, target.steps_key)


@dataclass(slots=True, eq=False)
class NextHopSlot:
    """One session's next hop, the hop that is to take its place, and the call that prepares the change."""

    session: RunningSession
    terms: pb.Terms
    current: NextHop
    told: Way  # that the client knows of
    spare: NextHop | None = None
    change: asyncio.Task[int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a client asks for: tell another hop the history, and perhaps let it be the next hop then."""

    target: pb.Downstream
    held: Sequence[int]  # tokens per row that the target has already; none given: it has nothing
    switch: bool


class NextHops:
    """The next hops of all sessions of a server."""

    def __init__(self, ways: Ways | None) -> None:
        self._ways = ways
        self._slots: dict[Lease, NextHopSlot] = {}
        self._allowance = DialAllowance()
        self._scouts: dict[Address, asyncio.Future[bool]] = {}

    @asynccontextmanager
    async def connected(self, session: RunningSession, terms: pb.Terms) -> AsyncIterator[Way | None]:
        """Connect to the next hop, if the terms name one: better at opening than in the first step.

        Yields how it is reached. The ways to it, and to the hops that follow in its place, stay open until
        the block ends. Raises Refused if it can't be reached.
        """
        if not terms.HasField("downstream"):
            yield None
            return
        current = await self._dial(terms.downstream, terms, session.lease.guest)
        session.lead(current.lane, _hello(current))
        slot = NextHopSlot(session, terms, current, told=self._way_to(current))
        self._slots[session.lease] = slot
        try:
            yield slot.told
        finally:
            del self._slots[session.lease]
            await _stop(slot.change)
            await self._drop_spare(slot)
            await slot.current.resources.aclose()

    def _way_to(self, hop: NextHop) -> Way:
        return way_taken(self._ways, hop.peer_id, is_tunnelled=hop.lane.is_tunnelled)

    async def tell_ways_forever(self) -> None:
        """Tell clients whenever their next hop is reached in another way."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            for slot in self._slots.values():
                self._tell_way(slot)

    def _tell_way(self, slot: NextHopSlot) -> None:
        if (way := self._way_to(slot.current)) is not slot.told:
            slot.told = way
            slot.session.tell_client(pb.ServerFrame(next_hop_way=pb.NextHopWay(way=way_number(way))))

    async def change(self, lease: Lease, change: Change) -> int:
        """Tell another hop the history, beyond the `held` tokens per row; with `switch`, then all outputs.

        Returns the tokens of the history that were sent. Without `switch` the lane stays open, and the next
        call for the same session and key goes on where this one ended. A newer call ends this one. Raises
        Refused; the session then goes on as before.
        """
        check_downstream(change.target)
        slot = self._slots.get(lease)
        if slot is None:
            raise Refused(Reason.BAD_OPENING, "no other hop follows this one, or not yet: nothing to change")
        rows = lease.contract.rows
        if change.held and len(change.held) != rows:
            raise Refused(
                Reason.BAD_OPENING, f"{len(change.held)} rows are held where the session has {rows}"
            )
        task = asyncio.create_task(self._change(slot, slot.change, change))
        slot.change = task
        try:
            either: set[asyncio.Future[Any]] = {task, lease.ended}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if task.done() and not task.cancelled():
                return task.result()
            if lease.ended.done():
                raise lease.ended.result()
            if slot is not self._slots.get(lease):
                raise Refused(Reason.UNKNOWN_SESSION, "the session has ended")
            raise Refused(Reason.NEXT_HOP_UNREACHABLE, "another change of the next hop has taken its place")
        finally:
            await _stop(task)

    async def _change(self, slot: NextHopSlot, former: asyncio.Task[int] | None, change: Change) -> int:
        await _stop(former)
        slot.session.lease.touch_for_replay()
        if slot.current.is_named_by(change.target) and not slot.session.lease.progress.outputs_are_lost:
            return 0  # the answer to the call that did it was lost
        if slot.spare is not None and not slot.spare.is_named_by(change.target):
            await self._drop_spare(slot)
        try:
            spare = slot.spare
            if spare is None:
                spare = slot.spare = await self._dial(change.target, slot.terms, slot.session.lease.guest)
                await _push(spare.lane, _hello(spare).pack())
                await undisturbed(slot.session.begin_replay(change.held))
            return await self._replay(slot, spare, change)
        except BaseException:  # also a cancellation: a frame may be sent by half
            await self._drop_spare(slot)
            raise

    async def _replay(self, slot: NextHopSlot, spare: NextHop, change: Change) -> int:
        tokens = 0
        while piece := await self._next_piece(slot, spare, change):
            await _push(spare.lane, piece.frame)
            tokens += piece.tokens
        slot.session.lease.touch_for_replay()
        return tokens

    async def _next_piece(self, slot: NextHopSlot, spare: NextHop, change: Change) -> Piece | None:
        asked = slot.session.next_piece(
            spare.lane if change.switch else None, pass_history_on=change.target.pass_history_on
        )
        try:
            return await undisturbed(asked)
        finally:  # cancelled or not: it is decided whose lane the spare is now
            is_over = not asked.cancelled() and asked.exception() is None and asked.result() is None
            if change.switch and is_over:
                former, slot.current, slot.spare = slot.current, spare, None
                self._tell_way(slot)
                await former.resources.aclose()

    async def _dial(self, target: pb.Downstream, terms: pb.Terms, guest: Guest) -> NextHop:
        """Connect to the hop that a client names. Raises Refused, without a word on what was found there."""
        try:
            record = announcement.decode(target.record)
        except InvalidRecordError as error:
            raise Refused(Reason.BAD_OPENING, f"the next hop's record is not valid: {error}") from error
        check_next(record, terms, time.time())
        resources = AsyncExitStack()
        lane = await self._reach(record.address, guest, resources)
        return NextHop(
            peer_id=record.peer_id,
            session_id=target.session_id,
            steps_key=target.steps_key,
            lane=lane,
            resources=resources,
        )

    async def _reach(self, address: Address, guest: Guest, resources: AsyncExitStack) -> Lane:
        """Connect to a server. Of many that name a new door at the same time, one has it tried.

        A door is all that its record names: else a server that is known could name new addresses for ever.
        """
        now = asyncio.get_running_loop().time
        while not self._allowance.is_known(address, now()):
            scout = self._scouts.get(address)
            if scout is None:
                places = len({*address.endpoints, *address.maddrs, *address.relays})
                if (wait_seconds := self._allowance.take(guest, now(), places)) > 0:
                    detail = "this client has this server try too many new next hops: wait, or use another"
                    raise Refused(Reason.BUSY, detail, wait_seconds)
                return await self._scouted(address, resources)
            await asyncio.wait({scout})
            if not scout.cancelled() and not scout.result():
                raise _unreachable()
        return await self._connect(address, resources)

    async def _scouted(self, address: Address, resources: AsyncExitStack) -> Lane:
        scout = self._scouts[address] = asyncio.get_running_loop().create_future()
        try:
            lane = await self._connect(address, resources)
            scout.set_result(True)
            return lane
        except Refused:
            scout.set_result(False)
            raise
        finally:
            del self._scouts[address]
            scout.cancel()  # where the client has gone meanwhile: another may go on

    async def _connect(self, address: Address, resources: AsyncExitStack) -> Lane:
        now = asyncio.get_running_loop().time
        answers_at = now() + DIAL_SECONDS
        dialling = lane_to(address, self._ways, DIAL_SECONDS, hides_failures=True)
        try:
            lane = await resources.enter_async_context(dialling)
        except HopFailedError as error:
            logger.debug("a next hop can't be reached: %s", error)
            self._allowance.stayed_shut(address)
            await asyncio.sleep(answers_at - now())
            raise _unreachable() from None
        self._allowance.opened(address, now())
        return lane

    async def _drop_spare(self, slot: NextHopSlot) -> None:
        spare, slot.spare = slot.spare, None
        if spare is not None:
            spare.lane.close()
            await spare.resources.aclose()


def _unreachable() -> Refused:
    return Refused(Reason.NEXT_HOP_UNREACHABLE, "the next hop is unreachable from this server")


def _hello(hop: NextHop) -> Hello:
    return Hello(Role.STEPS, hop.session_id, hop.steps_key)


async def _push(lane: Lane, frame: bytes) -> None:
    """Send a frame whole. Raises Refused if the lane breaks, or takes nothing for too long."""
    try:
        lane.receive()  # nothing comes this way but the end of the lane
        await deliver(lane, frame, stall_seconds=rest_writer.TAKE_SECONDS)
    except TimeoutError as error:
        detail = f"the next hop took no history: nothing for {rest_writer.TAKE_SECONDS:.0f} s"
        raise Refused(Reason.NEXT_HOP_UNREACHABLE, detail) from error
    except (OSError, EOFError, ProtocolError) as error:
        raise Refused(Reason.NEXT_HOP_UNREACHABLE, f"the next hop took no history: {error}") from error


async def _stop(task: asyncio.Task[int] | None) -> None:
    """End a task, and wait until it has cleaned up."""
    if task is not None:
        task.cancel()
        await ended(task)

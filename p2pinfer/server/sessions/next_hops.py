"""The ways to sessions' next hops: dialled at opening, and again when the client names another hop.

A hop that takes another's place is told the history first. Meanwhile the one before is served; the two
are exchanged by the thread that computes, which alone knows when nothing is left of the history.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from p2pinfer.errors import HopFailedError, InvalidRecordError, ProtocolError
from p2pinfer.server.sessions import output_lanes as outputs
from p2pinfer.server.sessions.session_steps import Piece, Runner
from p2pinfer.server.sessions.session_table import ServerSession
from p2pinfer.swarm.records import announcement
from p2pinfer.tasks import ended, undisturbed
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.channels import CONNECT_SECONDS
from p2pinfer.wire.dialling import Address, Tunnel
from p2pinfer.wire.hello import Hello, Role
from p2pinfer.wire.lane_handshake import lane_to
from p2pinfer.wire.lanes import Lane, deliver
from p2pinfer.wire.opening import check_downstream
from p2pinfer.wire.status import Reason, Refused


@dataclass(slots=True, kw_only=True)
class NextHop:
    """A lane to a session at another server, and what keeps the way there open."""

    session_id: bytes
    steps_key: bytes
    lane: Lane
    way: AsyncExitStack

    def is_meant_by(self, downstream: pb.Downstream) -> bool:
        """True if the client speaks of this lane."""
        return (self.session_id, self.steps_key) == (downstream.session_id, downstream.steps_key)


@dataclass(slots=True, eq=False)
class Downstream:
    """One session's next hop, the one that is to take its place, and the call that sees to it."""

    session: ServerSession
    current: NextHop
    spare: NextHop | None = None
    change: asyncio.Task[int] | None = None


class NextHops:
    """Of all sessions of a server."""

    def __init__(self, runner: Runner, tunnel: Tunnel | None) -> None:
        self._runner = runner
        self._tunnel = tunnel
        self._of: dict[ServerSession, Downstream] = {}

    @asynccontextmanager
    async def connected(self, session: ServerSession, terms: pb.Terms) -> AsyncIterator[None]:
        """Connect to the next hop, if the terms name one: better at opening than in the first step.

        The ways to it, and to those that follow in its place, stay open until the block ends. Raises
        Refused if it can't be reached.
        """
        if not terms.HasField("downstream"):
            yield
            return
        current = await self._dial(terms.downstream)
        self._runner.lead(session, current.lane, _hello(current))
        downstream = self._of[session] = Downstream(session, current)
        try:
            yield
        finally:
            del self._of[session]
            await _stop(downstream.change)
            await self._drop_spare(downstream)
            await downstream.current.way.aclose()

    async def change(
        self, session: ServerSession, target: pb.Downstream, held: Sequence[int], *, switch: bool
    ) -> int:
        """Tell another hop the history, beyond the `held` tokens per row; with `switch`, then all outputs.

        Returns the tokens of the history that were sent. Without `switch` the lane stays open, and the next
        call for the same session and key goes on where this one ended. A newer call ends this one. Raises
        Refused; the session then goes on as before.
        """
        check_downstream(target)
        downstream = self._of.get(session)
        if downstream is None:
            raise Refused(Reason.BAD_OPENING, "no other hop follows this one, or not yet: nothing to change")
        if held and len(held) != session.contract.rows:
            raise Refused(
                Reason.BAD_OPENING, f"{len(held)} rows are held where the session has {session.contract.rows}"
            )
        former = downstream.change
        task = asyncio.create_task(self._change(downstream, former, target, held, switch))
        downstream.change = task
        try:
            either: set[asyncio.Future[Any]] = {task, session.ended}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if task.done() and not task.cancelled():
                return task.result()
            if session.ended.done():
                raise session.ended.result()
            if downstream is not self._of.get(session):
                raise Refused(Reason.UNKNOWN_SESSION, "the session has ended")
            raise Refused(Reason.NEXT_HOP_UNREACHABLE, "another change of the next hop has taken its place")
        finally:
            await _stop(task)

    async def _change(
        self,
        downstream: Downstream,
        former: asyncio.Task[int] | None,
        target: pb.Downstream,
        held: Sequence[int],
        switch: bool,
    ) -> int:
        await _stop(former)
        session = downstream.session
        session.touch()
        if downstream.current.is_meant_by(target) and not session.outputs_lost:
            return 0  # the answer to the call that did it was lost
        if downstream.spare is not None and not downstream.spare.is_meant_by(target):
            await self._drop_spare(downstream)
        try:
            spare = downstream.spare
            if spare is None:
                spare = downstream.spare = await self._dial(target)
                await _push(spare.lane, _hello(spare).pack())
                await undisturbed(self._runner.begin_replay(session, held))
            return await self._replay(downstream, spare, switch, target.pass_history_on)
        except BaseException:  # also a cancellation: a frame may be sent by half
            await self._drop_spare(downstream)
            raise

    async def _replay(
        self, downstream: Downstream, spare: NextHop, switch: bool, pass_history_on: bool
    ) -> int:
        session, tokens = downstream.session, 0
        while piece := await self._next_piece(downstream, spare, switch, pass_history_on):
            await _push(spare.lane, piece.frame)
            tokens += piece.tokens
        session.touch()
        return tokens

    async def _next_piece(
        self, downstream: Downstream, spare: NextHop, switch: bool, pass_history_on: bool
    ) -> Piece | None:
        asked = self._runner.next_piece(
            downstream.session, spare.lane if switch else None, pass_history_on=pass_history_on
        )
        try:
            return await undisturbed(asked)
        finally:  # cancelled or not: whose lane it is now has been decided
            if switch and not asked.cancelled() and asked.exception() is None and asked.result() is None:
                former, downstream.current = downstream.current, spare
                downstream.spare = None
                await former.way.aclose()

    async def _dial(self, downstream: pb.Downstream) -> NextHop:
        try:
            record = announcement.decode(downstream.record)
        except InvalidRecordError as error:
            raise Refused(Reason.BAD_OPENING, f"the next hop's record is not valid: {error}") from error
        address = Address(record.peer_id, record.endpoints, record.certificate)
        way = AsyncExitStack()
        try:
            lane = await way.enter_async_context(lane_to(address, self._tunnel, CONNECT_SECONDS))
        except HopFailedError as error:
            raise Refused(Reason.NEXT_HOP_UNREACHABLE, str(error)) from error
        return NextHop(session_id=downstream.session_id, steps_key=downstream.steps_key, lane=lane, way=way)

    async def _drop_spare(self, downstream: Downstream) -> None:
        spare, downstream.spare = downstream.spare, None
        if spare is not None:
            spare.lane.close()
            await spare.way.aclose()


def _hello(hop: NextHop) -> Hello:
    return Hello(Role.STEPS, hop.session_id, hop.steps_key)


async def _push(lane: Lane, frame: bytes) -> None:
    """Send a frame whole. Raises Refused if the lane breaks, or takes nothing for too long."""
    try:
        lane.receive()  # nothing comes this way but the end: who has hung up takes nothing any more
        await deliver(lane, frame, stall_seconds=outputs.TAKE_SECONDS)
    except TimeoutError as error:
        detail = f"the next hop took no history: nothing for {outputs.TAKE_SECONDS:.0f} s"
        raise Refused(Reason.NEXT_HOP_UNREACHABLE, detail) from error
    except (OSError, EOFError, ProtocolError) as error:
        raise Refused(Reason.NEXT_HOP_UNREACHABLE, f"the next hop took no history: {error}") from error


async def _stop(task: asyncio.Task[int] | None) -> None:
    """End a task, and wait until it has cleaned up."""
    if task is not None:
        task.cancel()
        await ended(task)

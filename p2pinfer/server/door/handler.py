"""The gRPC service: it opens sessions, keeps them until they end, and says why they ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.rates import RateBound, RatesByStanding
from p2pinfer.fairness.sources import Source
from p2pinfer.server.compute.unsigned_work import UnsignedWork
from p2pinfer.server.door.admission import Load, admit, lacks_room
from p2pinfer.server.door.room_finder import RoomFinder
from p2pinfer.server.sessions.lease import Lease
from p2pinfer.server.sessions.next_hops import Change, NextHops
from p2pinfer.server.sessions.session_runner import SessionRunner
from p2pinfer.server.sessions.session_table import SessionTable
from p2pinfer.tasks import ending
from p2pinfer.types import SessionId
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.dialling import Ways
from p2pinfer.wire.inference_pb2_grpc import InferenceServicer
from p2pinfer.wire.opening import KEY_BYTES, read_opening, way_number
from p2pinfer.wire.status import Reason, Refused, errors_as_status

OPENINGS = RateBound(per_key=1_200, per_source=3_000, in_all=12_000)
"""Openings in a minute; each costs a signature's check. Once for strangers, once for those who are known."""

_TRIES = 3
"""Somebody else may take what was found meanwhile."""

Context = Any
"""grpc.aio.ServicerContext, whose generics exist for type checkers only."""


class Handler(InferenceServicer):
    """Serves one model span. `load()` says what the server is and has left now."""

    def __init__(
        self,
        sessions: SessionTable,
        runner: SessionRunner,
        load: Callable[[], Load],
        ways: Ways | None = None,
        sources_of: Callable[[Context], tuple[Source, ...]] = lambda context: (),
    ) -> None:
        """`sources_of` says where the other side of a call is."""
        self._sessions = sessions
        self._runner = runner
        self._load = load
        self._next_hops = NextHops(ways)
        self._sources_of = sources_of
        self._room = RoomFinder(sessions, runner)
        self._unsigned_work = UnsignedWork(sessions.accounts.receipt_tokens)
        self._openings = RatesByStanding(OPENINGS)

    async def tell_ways_forever(self) -> None:
        """Tell clients whenever the hop after this one is reached in another way."""
        await self._next_hops.tell_ways_forever()

    async def Ping(self, request: pb.PingRequest, context: Context) -> pb.PingReply:
        """Answer at once: the caller measures the round trip."""
        load = self._load()
        return pb.PingReply(
            server=load.peer_id,
            queue_depth=self._runner.queue_depth,
            free_cache_tokens=self._sessions.obtainable_tokens,
        )

    async def Session(self, opening: pb.Opening, context: Context) -> None:
        """Serve one session, until the client ends the call or something else ends the session."""
        async with errors_as_status(context):
            terms = read_opening(opening, now=time.time())
            guest = self._sessions.accounts.merits.guest(opening.client_public_key, self._sources_of(context))
            await self._admit(guest, terms)
            async with self._sessions.open(guest, terms) as lease:
                # Steps may come, and lanes have to be closed, even if the next hop can't be reached.
                with self._runner.running(lease, terms, self._unsigned_work, self._room.for_lease) as session:
                    async with self._next_hops.connected(session, terms) as way:
                        opened = pb.Opened(
                            max_step_tokens=self._sessions.max_step_tokens,
                            idle_seconds=self._sessions.idle_seconds,
                            receipt_tokens=self._sessions.accounts.receipt_tokens,
                            next_hop_way=way_number(way),
                        )
                        raise await _end_of(lease, context, pb.ServerFrame(opened=opened))

    async def _admit(self, guest: Guest, terms: pb.Terms) -> None:
        """Return, without a further wait, when there is room for a session. Raises Refused."""
        if (seconds := self._openings.of(guest).use(guest, time.monotonic())) > 0:
            detail = "too many sessions were opened from there within a minute: use one for many sequences"
            raise Refused(Reason.BUSY, detail, seconds)
        assert guest.key is not None
        for tries_left in reversed(range(_TRIES)):
            refused = admit(terms, self._load(), self._sessions.count_of(guest.key))
            if refused is None:
                return
            may_find = tries_left > 0 and lacks_room(refused)
            if not (may_find and await self._room.for_opening(guest, terms)):
                raise refused

    async def SetUpstream(self, request: pb.SetUpstreamRequest, context: Context) -> pb.SetUpstreamReply:
        """Let the session's steps come on a lane with another key."""
        async with errors_as_status(context):
            lease = self._sessions.find_for(request.session)
            if len(request.steps_key) != KEY_BYTES:
                raise Refused(Reason.BAD_OPENING, f"keys have {KEY_BYTES} bytes")
            session = self._runner.session_of(lease)
            await session.change_upstream(request.steps_key, at_once=request.at_once)
        return pb.SetUpstreamReply()

    async def SetDownstream(
        self, request: pb.SetDownstreamRequest, context: Context
    ) -> pb.SetDownstreamReply:
        """Tell another hop what the next hop was told. With `switch`, put it in the next hop's place."""
        async with errors_as_status(context):
            lease = self._sessions.find_for(request.session)
            change = Change(target=request.downstream, held=request.held, switch=request.switch)
            tokens = await self._next_hops.change(lease, change)
        return pb.SetDownstreamReply(tokens=tokens)

    async def Progress(self, request: pb.ProgressRequest, context: Context) -> pb.ProgressReply:
        """Say how far a session is, without waiting for the computing thread."""
        async with errors_as_status(context):
            progress = self._sessions.find_for(request.session).progress
        return pb.ProgressReply(
            received=progress.received_step_id,
            computed=progress.computed_step_id,
            sent=progress.sent_step_id,
            history_tokens=progress.history_tokens,
        )

    async def Settle(self, request: pb.SettleRequest, context: Context) -> pb.SettleReply:
        """Take a receipt, also for a session that has just ended."""
        async with errors_as_status(context):
            accounts = self._sessions.accounts
            account = accounts.find_for(request.session)
            reply = await accounts.settle(account, request.receipt)
            self._sessions.signed(account.expected.client)
            if (session := self._runner.find(SessionId(request.session.session_id))) is not None:
                session.receipt_came()
        return reply


async def _end_of(lease: Lease, context: Context, first: pb.ServerFrame) -> Refused:
    """Write `first`, and what else the client is to be told, until the session ends. Returns why it ended.

    A client that reads nothing holds up its frames, and not the end.
    """
    async with ending(asyncio.create_task(_tell(lease, context, first))):
        return await asyncio.shield(lease.ended)


async def _tell(lease: Lease, context: Context, first: pb.ServerFrame) -> None:
    await context.write(first)
    await lease.outbox.drain_forever(context)

"""The gRPC service: opens sessions, keeps them until they end, and says why they ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from p2pinfer.server.door.admission import Load, admit
from p2pinfer.server.sessions.next_hops import NextHops
from p2pinfer.server.sessions.session_steps import Runner
from p2pinfer.server.sessions.session_table import ServerSession, SessionTable
from p2pinfer.types import SessionId
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.dialling import Tunnel
from p2pinfer.wire.inference_pb2_grpc import InferenceServicer
from p2pinfer.wire.opening import KEY_BYTES, read_opening
from p2pinfer.wire.status import Reason, Refused, errors_as_status

Context = Any
"""grpc.aio.ServicerContext, whose generics exist for type checkers only."""


class Handler(InferenceServicer):
    """Serves one model span. `load()` says what the server is and has left, afresh at each call."""

    def __init__(
        self,
        sessions: SessionTable,
        runner: Runner,
        load: Callable[[], Load],
        tunnel: Tunnel | None = None,
    ) -> None:
        self._sessions = sessions
        self._runner = runner
        self._load = load
        self._next_hops = NextHops(runner, tunnel)

    async def Ping(self, request: pb.PingRequest, context: Context) -> pb.PingReply:
        """Answer at once: the caller measures the round trip."""
        load = self._load()
        return pb.PingReply(
            server=load.peer_id,
            queue_depth=self._runner.queue_depth,
            free_cache_tokens=load.free_cache_tokens,
        )

    async def Session(self, opening: pb.Opening, context: Context) -> None:
        """Serve one session, until the client ends the call or something else ends the session."""
        async with errors_as_status(context):
            terms = read_opening(opening, now=time.time())
            client = opening.client_public_key
            if refused := admit(terms, self._load(), self._sessions.count_of(client)):
                raise refused
            async with self._sessions.open(client, terms) as session:
                try:
                    async with self._next_hops.connected(session, terms):
                        opened = pb.Opened(
                            max_step_tokens=self._sessions.max_step_tokens,
                            idle_seconds=self._sessions.idle_seconds,
                            receipt_tokens=self._sessions.accounts.receipt_tokens,
                        )
                        await context.write(pb.ServerFrame(opened=opened))
                        raise await _end_of(session, context)
                finally:  # also where no next hop was found: steps may have come meanwhile
                    self._runner.release(session)

    async def SetUpstream(self, request: pb.SetUpstreamRequest, context: Context) -> pb.SetUpstreamReply:
        """Let the session's steps come from somebody else."""
        async with errors_as_status(context):
            session = self._sessions.find_for(request.session)
            if len(request.steps_key) != KEY_BYTES:
                raise Refused(Reason.BAD_OPENING, f"keys have {KEY_BYTES} bytes")
            await self._runner.change_upstream(session, request.steps_key, at_once=request.at_once)
        return pb.SetUpstreamReply()

    async def SetDownstream(
        self, request: pb.SetDownstreamRequest, context: Context
    ) -> pb.SetDownstreamReply:
        """Tell another hop what the next hop was told; with `switch`, put it in the next hop's place."""
        async with errors_as_status(context):
            session = self._sessions.find_for(request.session)
            tokens = await self._next_hops.change(
                session, request.downstream, request.held, switch=request.switch
            )
        return pb.SetDownstreamReply(tokens=tokens)

    async def Progress(self, request: pb.ProgressRequest, context: Context) -> pb.ProgressReply:
        """Say how far a session is: what the computing thread has noted, without waiting for it."""
        async with errors_as_status(context):
            session = self._sessions.find_for(request.session)
        return pb.ProgressReply(
            received=session.last_step_id,
            computed=session.computed_step_id,
            sent=session.sent_step_id,
            history_tokens=session.history_tokens,
        )

    async def Settle(self, request: pb.SettleRequest, context: Context) -> pb.SettleReply:
        """Take a receipt, also for a session that has just ended."""
        async with errors_as_status(context):
            accounts = self._sessions.accounts
            reply = await accounts.settle(accounts.find_for(request.session), request.receipt)
            self._runner.go_on(SessionId(request.session.session_id))
        return reply


async def _end_of(session: ServerSession, context: Context) -> Refused:
    """Tell the client what there is to be told until the session ends, and return why it did."""
    telling = asyncio.create_task(session.outbox.drain_forever(context))
    try:
        return await asyncio.shield(session.ended)
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)

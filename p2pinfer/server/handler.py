"""The gRPC service: opens sessions, keeps them until they end, and says why they ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from p2pinfer.errors import HopFailedError, InvalidRecordError
from p2pinfer.server.admission import Load, admit
from p2pinfer.server.runner import Runner
from p2pinfer.server.sessions import ServerSession, SessionTable
from p2pinfer.swarm import announcement
from p2pinfer.swarm.identity import verify
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.channels import CONNECT_SECONDS, Address, Tunnel
from p2pinfer.wire.inference_pb2_grpc import InferenceServicer
from p2pinfer.wire.lanes import Hello, Role, lane_to
from p2pinfer.wire.opening import read_opening
from p2pinfer.wire.status import Reason, Refused, errors_as_status
from p2pinfer.wire.steps import MAX_STEP_TOKENS

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
        self._tunnel = tunnel

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
            terms = read_opening(opening, now=time.time(), verify=verify)
            client = opening.client_public_key
            if refused := admit(terms, self._load(), self._sessions.count_of(client)):
                raise refused
            async with self._sessions.open(client, terms) as session:
                try:
                    async with self._next_hop(terms, session):
                        opened = pb.Opened(
                            max_step_tokens=MAX_STEP_TOKENS, idle_seconds=self._sessions.idle_seconds
                        )
                        await context.write(pb.ServerFrame(opened=opened))
                        raise await asyncio.shield(session.ended)
                finally:  # also where no next hop was found: steps may have come meanwhile
                    self._runner.release(session)

    @asynccontextmanager
    async def _next_hop(self, terms: pb.Terms, session: ServerSession) -> AsyncIterator[None]:
        """Connect to the next hop, if the terms name one: better at opening than in the first step."""
        if not terms.HasField("downstream"):
            yield
            return
        try:
            record = announcement.decode(terms.downstream.record)
        except InvalidRecordError as error:
            raise Refused(Reason.BAD_OPENING, f"the next hop's record is not valid: {error}") from error
        address = Address(record.peer_id, record.endpoints, record.certificate)
        async with AsyncExitStack() as ways:
            try:
                lane = await ways.enter_async_context(lane_to(address, self._tunnel, CONNECT_SECONDS))
            except HopFailedError as error:
                raise Refused(Reason.NEXT_HOP_UNREACHABLE, str(error)) from error
            self._runner.lead(session, lane, Hello(Role.STEPS, session.id, terms.downstream.steps_key))
            yield

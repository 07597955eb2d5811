"""Small stand-ins with the real interfaces: an engine of plain arithmetic, and a swarm in one process.

The engine is deterministic, depends on position and history, and gives the same results wherever layers are
cut into spans, so that a wrong token, a lost row or a doubled append changes its output. Servers are the real
handler behind real gRPC with pinned TLS on 127.0.0.1; only the DHT is replaced by a list of signed records.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from p2pinfer.errors import LedgerError
from p2pinfer.identity import Identity
from p2pinfer.model.engine.base import Chunk, Hidden
from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.owner.ledger.acceptance import Expected
from p2pinfer.server.compute.batcher import Batcher
from p2pinfer.server.compute.speed import Speed
from p2pinfer.server.door.admission import Load
from p2pinfer.server.door.front_door import listen_on
from p2pinfer.server.door.handler import Handler
from p2pinfer.server.door.listeners import serve_on_sockets
from p2pinfer.server.sessions.accounts import Accounts
from p2pinfer.server.sessions.lease import Lease
from p2pinfer.server.sessions.running_session import RunningSession
from p2pinfer.server.sessions.session_runner import SessionRunner
from p2pinfer.server.sessions.session_table import SessionTable
from p2pinfer.server.streams.packing import StepPacker
from p2pinfer.server.streams.step_stream import State, StepStream
from p2pinfer.swarm.coordinates.position import Position
from p2pinfer.swarm.records import announcement
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.types import LayerSeconds, PeerId, SessionId, Span
from p2pinfer.wire.inference_pb2_grpc import add_InferenceServicer_to_server
from p2pinfer.wire.lanes import Lane
from p2pinfer.wire.receipt_pb2 import SignedReceipt
from p2pinfer.wire.receipts import Work
from p2pinfer.wire.status import Reason, Refused
from tests.model.fake_engine import HIDDEN_SIZE, FakeEngine
from tests.swarm.only_endpoints import OnlyEndpoints

MODEL = "ab" * 32
MAX_POSITIONS = 4096
SPEED = Speed(decode=LayerSeconds(0.001), prefill=LayerSeconds(0.0005))


@dataclass(slots=True)
class MemoryBook:
    """A ledger in memory."""

    receipts: list[SignedReceipt] = field(default_factory=list)
    sessions: list[tuple[Expected, Work]] = field(default_factory=list)

    full: bool = False
    clients: list[tuple[bytes, int]] = field(default_factory=list)
    """What clients have signed for before."""

    async def add_receipt(self, receipt: SignedReceipt, *, before: Work) -> str | None:
        if self.full:
            raise LedgerError("the disk is full")
        self.receipts.append(receipt)
        return None

    async def signed_tokens(self) -> list[tuple[bytes, int]]:
        return self.clients

    def add_session(
        self, expected: Expected, work: Work, signed: Work, *, started_at: float, ended_at: float
    ) -> None:
        self.sessions.append((expected, work))


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A session's lease and stream, as tests look at them; tests don't wait for the threads of either."""

    running: RunningSession

    @property
    def lease(self) -> Lease:
        return self.running.lease

    @property
    def stream(self) -> StepStream[Lane]:
        return self.running.driver.stream

    @property
    def steps(self) -> Lane | None:
        """The lane that brings steps."""
        return self.stream.upstream.lane

    @property
    def next_steps(self) -> Lane | None:
        """The lane that replaces it with its first step."""
        return self.stream.upstream.next_lane

    @property
    def outputs(self) -> Lane | None:
        """The lane that outputs go to."""
        return self.stream.outlet.lane

    @property
    def flushing(self) -> Lane | None:
        """The lane on which the event loop writes the rest of a frame."""
        return self.running.rest_writer.lane

    @property
    def busy(self) -> bool:
        """True while the session has a step."""
        return self.stream.state is not State.READING

    @property
    def computed_step_id(self) -> int:
        return self.lease.progress.computed_step_id

    @property
    def tokens_run(self) -> int:
        return self.lease.tokens_run


class FakeServer:
    """One server: the real handler, sessions and batcher over the fake engine."""

    def __init__(
        self,
        layers: Span,
        num_layers: int,
        cache_tokens: int,
        idle_seconds: float,
        receipt_tokens: int,
        engine: FakeEngine | None = None,
    ) -> None:
        self.identity = Identity.ephemeral()
        self.engine = engine or FakeEngine(layers)
        self.book = MemoryBook()
        self.accounts = Accounts(self.identity, self.book, receipt_tokens=receipt_tokens)
        self.sessions = SessionTable(
            self.engine, cache_tokens=cache_tokens, idle_seconds=idle_seconds, accounts=self.accounts
        )
        self.batcher = Batcher(self.engine, SPEED)
        self.runner = SessionRunner(self.batcher, asyncio.get_running_loop())
        self.sessions.leave_rest_to(self.runner.limit_prefixes)
        self.draining = False
        self.leaves_at: float | None = None
        self.is_tunnelled = False  # it announces no endpoint
        self.num_layers = num_layers
        self.cache_tokens = cache_tokens
        self.handler = Handler(self.sessions, self.runner, lambda: self.load())
        self.port = 0
        self._running = AsyncExitStack()

    @property
    def peer_id(self) -> PeerId:
        return self.identity.peer_id

    @property
    def open_sessions(self) -> list[OpenSession]:
        """Oldest first."""
        found = (self.open_session(lease.id) for lease in self.sessions.leases)
        return [session for session in found if session is not None]

    def open_session(self, session_id: bytes) -> OpenSession | None:
        """The session with this id."""
        session = self.runner.find(SessionId(session_id))
        return session and OpenSession(session)

    def history(self, session: int = 0) -> list[Hidden]:
        """What one of its sessions has sent on, per row: [tokens, hidden]; empty at a last hop."""
        packer = self.open_sessions[session].stream.packer
        rows = packer.sent_outputs.rows() if isinstance(packer, StepPacker) else []
        return [row.copy() for row in rows]

    def drain(self, seconds: float = 60.0) -> None:
        """Take no more sessions, and tell open sessions to move, as after SIGTERM."""
        self.draining = True
        self.leaves_at = time.time() + seconds
        self.sessions.announce_draining(seconds)

    async def leave(self) -> None:
        """End draining: the remaining sessions are told, and the server is gone."""
        self.draining = True
        self.sessions.end_all(Refused(Reason.LEAVING, "the server is leaving: move to another"))
        await self.sessions.wait_empty()
        await self.stop()

    def load(self) -> Load:
        return Load(
            peer_id=self.peer_id,
            model=MODEL,
            numerics=self.engine.numerics,
            layers=self.engine.span,
            max_positions=MAX_POSITIONS,
            cache_tokens=self.cache_tokens,
            free_cache_tokens=self.sessions.free_cache_tokens,
            patient_tokens=self.sessions.patient_tokens,
            sessions=len(self.sessions),
            draining=self.draining,
        )

    def record(self) -> Announcement:
        """The server's record, signed and read back, as a reader of the swarm gets it."""
        now = time.time()
        announced = Announcement(
            peer_id=self.peer_id,
            model=MODEL,
            model_name="fake",
            num_layers=self.num_layers,
            layers=self.engine.span,
            state=ServerState.DRAINING if self.draining else ServerState.SERVING,
            leaves_at=self.leaves_at,
            free_cache_tokens=self.sessions.free_cache_tokens,
            numerics=self.engine.numerics,
            endpoints=() if self.is_tunnelled else (f"127.0.0.1:{self.port}",),
            certificate=self.certificate_der,
            announced_at=now,
            expires_at=now + 60,
        )
        return announcement.decode(announcement.encode(announced, self.identity))

    async def start(self) -> None:
        listener = listen_on("127.0.0.1:0")
        self.port = listener.getsockname()[1]
        folder = self._running.enter_context(tempfile.TemporaryDirectory())
        self._running.enter_context(self.runner)
        served = serve_on_sockets(
            [partial(add_InferenceServicer_to_server, self.handler)],
            self.runner.adopt,
            [listener],
            f"{folder}/grpc.sock",
            leave_seconds=0,
        )
        self.certificate_der = (await self._running.enter_async_context(served)).der

    async def stop(self) -> None:
        """Stop at once, as after a power cut; stopping twice is harmless."""
        await self._running.aclose()


class FakeSwarm:
    """A list of servers with the reading half of Swarm's interface."""

    def __init__(
        self,
        num_layers: int,
        cache_tokens: int,
        idle_seconds: float,
        receipt_tokens: int,
        engine_of: Callable[[Span], Any] = FakeEngine,
    ) -> None:
        self.members: list[FakeServer] = []
        self.ways = OnlyEndpoints()
        self.position = Position()
        self._shape = (num_layers, cache_tokens, idle_seconds, receipt_tokens)
        self._engine_of = engine_of

    async def add(self, span: Span) -> FakeServer:
        """Start one more server."""
        member = FakeServer(span, *self._shape, engine=self._engine_of(span))
        await member.start()
        self.members.append(member)
        return member

    async def servers(self, model: str) -> list[Announcement]:
        return [member.record() for member in self.members] if model == MODEL else []

    async def models(self) -> list[object]:
        return []

    async def kill(self, member: FakeServer) -> None:
        """Stop a server while its record is still there, as after a power cut."""
        await member.stop()


@asynccontextmanager
async def fake_swarm(
    spans: Sequence[Span],
    *,
    cache_tokens: int = 4096,
    idle_seconds: float = 60.0,
    receipt_tokens: int = 1_000_000,
    engine_of: Callable[[Span], Any] = FakeEngine,
) -> AsyncIterator[FakeSwarm]:
    """Start one server per span. `engine_of` makes its engine: a real one needs a real client's ends."""
    num_layers = max(span.end for span in spans)
    swarm = FakeSwarm(num_layers, cache_tokens, idle_seconds, receipt_tokens, engine_of)
    try:
        for span in spans:
            await swarm.add(span)
        yield swarm
    finally:
        for member in swarm.members:
            await member.stop()


def run_locally(hidden: Hidden, num_layers: int) -> Hidden:
    """The output of the whole model for one sequence, in one engine and one chunk."""
    engine = FakeEngine(Span(0, num_layers))
    return engine.forward([Chunk(engine.new_cache(), hidden)])[0]


def random_hidden(tokens: int, seed: int = 0) -> Hidden:
    """Activations [tokens, HIDDEN_SIZE], the same for the same seed."""
    return np.random.default_rng(seed).standard_normal((tokens, HIDDEN_SIZE)).astype(np.float32)


VOCABULARY = 32


class FakeEnds:
    """Tokens to activations and back: each token has a vector, and scores are dot products with it."""

    def __init__(self) -> None:
        self.vectors = np.random.default_rng(7).standard_normal((VOCABULARY, HIDDEN_SIZE)).astype(np.float32)

    def embed(self, ids: np.ndarray) -> Hidden:
        return self.vectors[ids]

    def logits(self, hidden: Hidden) -> np.ndarray:
        return np.tanh(hidden) @ self.vectors.T


def fake_manifest(num_layers: int) -> Manifest:
    return Manifest(
        hash=MODEL,
        name="fake",
        model_type="llama",
        num_layers=num_layers,
        hidden_size=HIDDEN_SIZE,
        vocab_size=VOCABULARY,
        max_positions=MAX_POSITIONS,
        files={},
    )


def greedy_locally(prompt: list[int], tokens: int, num_layers: int) -> list[int]:
    """The greedy continuation by the whole model in one engine."""
    ends, row = FakeEnds(), list(prompt)
    for _ in range(tokens):
        hidden = run_locally(ends.embed(np.array(row)), num_layers)
        row.append(int(ends.logits(hidden[-1:]).argmax()))
    return row[len(prompt) :]

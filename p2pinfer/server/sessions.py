"""The sessions that a server has open: what each may use, and when it ends."""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from p2pinfer.model.engine.base import Engine, SequenceCache
from p2pinfer.server.admission import leased_tokens
from p2pinfer.types import SessionId, Span
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.lanes import Hello, Lane, Role
from p2pinfer.wire.opening import MAX_CLOCK_SKEW_SECONDS
from p2pinfer.wire.status import Reason, Refused
from p2pinfer.wire.steps import Contract, Step

logger = logging.getLogger(__name__)

_REMEMBERED_SESSIONS = 100_000


@dataclass(slots=True)
class ServerSession:
    """One client's rows in this server's layers.

    The first fields are set at opening and don't change; those under "the runner's" belong to the
    thread that computes, and `ended`, `released` and `flushing` to the event loop.
    """

    id: SessionId
    client: bytes  # public key
    layers: Span
    contract: Contract
    steps_key: bytes
    results_key: bytes  # empty: another hop follows
    caches: list[SequenceCache]
    ended: asyncio.Future[Refused]
    released: bool = False
    flushing: tuple[int, asyncio.TimerHandle] | None = None  # a descriptor that waits to be written to

    # the runner's
    last_step_id: int = 0
    lengths: list[int] = field(default_factory=list)
    tokens_run: int = 0
    last_active: float = field(default_factory=time.monotonic)
    busy: bool = False  # a step is computed, or its outputs are not yet taken
    steps: Lane | None = None
    outputs: Lane | None = None
    hello: Hello | None = None  # to be sent before the first output
    unsent: bytes | None = None

    @property
    def is_last_hop(self) -> bool:
        """True if the client takes the outputs."""
        return bool(self.results_key)

    def begin(self, step: Step) -> None:
        """Note that a step was accepted: its tokens count as cached from here on."""
        self.last_step_id = step.step_id
        self.touch()
        for chunk in step.chunks:
            self.lengths[chunk.row] = chunk.position + len(chunk.hidden)
            self.tokens_run += len(chunk.hidden)

    def touch(self) -> None:
        """Something happened: the idle time begins anew."""
        self.last_active = time.monotonic()

    def end(self, refused: Refused) -> None:
        """End the session for this reason, unless it already ends for another."""
        if not self.ended.done():
            self.ended.set_result(refused)

    def accepts(self, hello: Hello) -> bool:
        """True if whoever says so may have the lane that it asks for, and nobody has it yet."""
        if hello.role is Role.STEPS:
            return self.steps is None and hmac.compare_digest(self.steps_key, hello.key)
        return self.is_last_hop and self.outputs is None and hmac.compare_digest(self.results_key, hello.key)


class SessionTable:
    """All open sessions; leases cache tokens to them and takes the leases back."""

    def __init__(
        self,
        engine: Engine,
        *,
        cache_tokens: int,
        idle_seconds: float,
    ) -> None:
        self._engine = engine
        self._sessions: dict[SessionId, ServerSession] = {}
        self._seen: OrderedDict[SessionId, float] = OrderedDict()
        self._clients: Counter[bytes] = Counter()
        self._leased_layer_tokens = 0
        self.cache_tokens = cache_tokens
        self.idle_seconds = idle_seconds

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def free_cache_tokens(self) -> int:
        """Tokens through the whole span that no session has leased."""
        num_layers = len(self._engine.span)
        return (self.cache_tokens * num_layers - self._leased_layer_tokens) // num_layers

    def count_of(self, client: bytes) -> int:
        """Open sessions of this client."""
        return self._clients[client]

    @asynccontextmanager
    async def open(self, client: bytes, terms: pb.Terms) -> AsyncIterator[ServerSession]:
        """Lease memory to a session for as long as the block runs. Its caches are the caller's to free.

        Call it right after `admit`, with no await between: what was free then is taken here.
        """
        session_id = SessionId(terms.session_id)
        if session_id in self._seen:
            raise Refused(Reason.BAD_OPENING, "this opening was used before: sign a new one")
        self._remember(session_id)
        layers = Span(terms.first_layer, terms.end_layer)
        layer_tokens = leased_tokens(terms) * len(layers)
        session = ServerSession(
            id=session_id,
            client=client,
            layers=layers,
            contract=Contract(
                rows=terms.rows,
                max_tokens=terms.max_tokens,
                hidden_size=self._engine.hidden_size,
                wire_dtype=terms.wire_dtype,
            ),
            steps_key=terms.steps_key,
            results_key=terms.results_key,
            caches=[self._engine.new_cache(layers) for _ in range(terms.rows)],
            ended=asyncio.get_running_loop().create_future(),
            lengths=[0] * terms.rows,
        )
        self._sessions[session_id] = session
        self._clients[client] += 1
        self._leased_layer_tokens += layer_tokens
        started = time.monotonic()
        try:
            yield session
        finally:
            session.end(Refused(Reason.UNKNOWN_SESSION, "the session has ended"))
            del self._sessions[session_id]
            self._leased_layer_tokens -= layer_tokens
            self._clients[client] -= 1
            if not self._clients[client]:
                del self._clients[client]
            reason = session.ended.result().reason
            logger.info(
                "session closed id=%s layers=%s tokens=%d seconds=%.1f outcome=%s",
                session_id.hex()[:8],
                layers,
                session.tokens_run,
                time.monotonic() - started,
                "finished" if reason is Reason.UNKNOWN_SESSION else reason,
            )

    def find(self, session_id: SessionId) -> ServerSession | None:
        """The session with this id. Any thread may ask."""
        return self._sessions.get(session_id)

    def end_all(self, refused: Refused) -> None:
        """End every session for this reason."""
        for session in list(self._sessions.values()):
            session.end(refused)

    async def expire_forever(self) -> None:
        """End sessions that have had no step for `idle_seconds`."""
        while True:
            await asyncio.sleep(min(self.idle_seconds / 4, 5.0))
            deadline = time.monotonic() - self.idle_seconds
            for session in list(self._sessions.values()):
                if session.last_active < deadline:
                    session.end(
                        Refused(Reason.IDLE, f"no step for {self.idle_seconds:.0f} s: open a new session")
                    )

    def _remember(self, session_id: SessionId) -> None:
        """Keep the ids of openings for as long as their time stamps would let them be replayed."""
        now = time.monotonic()
        self._seen[session_id] = now
        oldest = now - 2 * MAX_CLOCK_SKEW_SECONDS
        while self._seen and (
            next(iter(self._seen.values())) < oldest or len(self._seen) > _REMEMBERED_SESSIONS
        ):
            self._seen.popitem(last=False)

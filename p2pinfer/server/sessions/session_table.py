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
from p2pinfer.server.sessions.accounts import Account, Accounts
from p2pinfer.server.sessions.history import History
from p2pinfer.server.sessions.lease import leased_tokens
from p2pinfer.server.sessions.outbox import Outbox
from p2pinfer.types import SessionId, Span
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.hello import Hello
from p2pinfer.wire.lanes import Lane
from p2pinfer.wire.opening import MAX_CLOCK_SKEW_SECONDS
from p2pinfer.wire.status import Reason, Refused
from p2pinfer.wire.steps import MAX_STEP_TOKENS, Contract, Step

logger = logging.getLogger(__name__)

_REMEMBERED_SESSIONS = 100_000


@dataclass(slots=True, eq=False, kw_only=True)
class ServerSession:
    """One client's rows in this server's layers.

    The first fields are set at opening and don't change; those under "the runner's" belong to the
    thread that computes, and the others to the event loop.
    """

    id: SessionId
    client: bytes  # public key
    layers: Span
    contract: Contract
    control_key: bytes
    account: Account
    results_key: bytes  # empty: another hop follows
    caches: list[SequenceCache]
    history: History | None  # None: the client takes the outputs, and keeps them as tokens
    ended: asyncio.Future[Refused]
    outbox: Outbox = field(default_factory=Outbox)
    released: bool = False
    flushing: tuple[Lane, asyncio.TimerHandle] | None = None  # a lane that waits to be written to

    # the runner's
    steps_key: bytes  # that the lane of steps was, or will be, opened with
    next_steps_key: bytes = b""  # the same of a lane that takes its place with the first step on it
    last_step_id: int = 0
    computed_step_id: int = 0
    sent_step_id: int = 0
    history_tokens: int = 0  # that came as history, and are in the caches
    lengths: list[int] = field(default_factory=list)
    tokens_run: int = 0
    last_active: float = field(default_factory=time.monotonic)
    busy: bool = False  # a step waits for a receipt, or is computed, or its outputs are not yet taken
    unsigned_step: Step | None = None  # that waits for a receipt
    gap_expected: bool = False  # the upstream has changed: what it was sent before may have gone astray
    steps: Lane | None = None
    next_steps: Lane | None = None
    outputs: Lane | None = None
    outputs_lost: bool = False  # there was a lane; what comes meanwhile is not sent
    pass_history_on: bool = False  # to where the outputs go
    hello: Hello | None = None  # to be sent before the first output
    unsent: bytes | None = None
    unsent_step_id: int = 0
    sending: Lane | None = None  # the lane that the event loop writes the rest of a frame to

    @property
    def is_last_hop(self) -> bool:
        """True if the client takes the outputs."""
        return bool(self.results_key)

    def begin(self, step: Step) -> None:
        """Note that a step was accepted: its tokens count as cached from here on."""
        if step.step_id:
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

    def change_upstream(self, steps_key: bytes, *, at_once: bool) -> list[Lane]:
        """Let steps come from whoever shows this key. Returns the lanes that are to be closed."""
        self.touch()
        self.gap_expected = True
        old = [self.next_steps]
        self.next_steps, self.next_steps_key = None, steps_key
        if at_once:
            old.append(self.steps)
            self.steps, self.steps_key, self.next_steps_key = None, steps_key, b""
        return [lane for lane in old if lane is not None]

    def give_steps_lane(self, lane: Lane, key: bytes) -> bool:
        """Take this lane for the steps to come; False if nobody with such a key is expected."""
        if self.steps is None and hmac.compare_digest(self.steps_key, key):
            self.steps = lane
        elif self.next_steps is None and hmac.compare_digest(self.next_steps_key, key):
            self.next_steps = lane
        else:
            return False
        return True

    def promote_steps_lane(self) -> Lane | None:
        """The new lane takes the place of the old one, which is returned."""
        old, self.steps, self.next_steps = self.steps, self.next_steps, None
        self.steps_key, self.next_steps_key = self.next_steps_key, b""
        return old

    def accepts_results_lane(self, key: bytes) -> bool:
        """True if whoever shows this key may take the results, also in the place of another lane."""
        return self.is_last_hop and hmac.compare_digest(self.results_key, key)


class SessionTable:
    """All open sessions; leases cache tokens to them and takes the leases back."""

    def __init__(
        self,
        engine: Engine,
        *,
        cache_tokens: int,
        idle_seconds: float,
        accounts: Accounts,
    ) -> None:
        self._engine = engine
        self._sessions: dict[SessionId, ServerSession] = {}
        self._seen: OrderedDict[SessionId, float] = OrderedDict()
        self._clients: Counter[bytes] = Counter()
        self._leased_layer_tokens = 0
        self._emptied = asyncio.Event()
        self._emptied.set()
        self.cache_tokens = cache_tokens
        self.idle_seconds = idle_seconds
        self.accounts = accounts

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def free_cache_tokens(self) -> int:
        """Tokens through the whole span that no session has leased."""
        num_layers = len(self._engine.span)
        return (self.cache_tokens * num_layers - self._leased_layer_tokens) // num_layers

    @property
    def max_step_tokens(self) -> int:
        """No step may have more: one must fit into what may be unsigned."""
        return min(MAX_STEP_TOKENS, self.accounts.receipt_tokens)

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
                max_step_tokens=self.max_step_tokens,
            ),
            control_key=terms.control_key,
            account=self.accounts.open(client, terms),
            steps_key=terms.steps_key,
            results_key=terms.results_key,
            pass_history_on=terms.downstream.pass_history_on,
            caches=[self._engine.new_cache(layers) for _ in range(terms.rows)],
            history=None if terms.results_key else self._new_history(terms),
            ended=asyncio.get_running_loop().create_future(),
            lengths=[0] * terms.rows,
        )
        self._sessions[session_id] = session
        self._emptied.clear()
        self._clients[client] += 1
        self._leased_layer_tokens += layer_tokens
        started = time.monotonic()
        try:
            yield session
        finally:
            session.end(Refused(Reason.UNKNOWN_SESSION, "the session has ended"))
            del self._sessions[session_id]
            self.accounts.close(session.account)
            if not self._sessions:
                self._emptied.set()
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

    def find_for(self, ref: pb.SessionRef) -> ServerSession:
        """The session that a client speaks of. Raises Refused if there is none, or if the key is wrong."""
        session = self._sessions.get(SessionId(ref.session_id))
        if session is None or not hmac.compare_digest(session.control_key, ref.control_key):
            raise Refused(Reason.UNKNOWN_SESSION, "no session here has this id and key")
        return session

    def announce_draining(self, seconds: float) -> None:
        """Tell the client of every session to find another server within so many seconds."""
        for session in self._sessions.values():
            session.outbox.put(pb.ServerFrame(draining=pb.Draining(seconds=seconds)))

    async def wait_empty(self) -> None:
        """Return as soon as no session is open."""
        await self._emptied.wait()

    def end_all(self, refused: Refused) -> None:
        """End every session for this reason."""
        for session in list(self._sessions.values()):
            session.end(refused)

    async def expire_forever(self) -> None:
        """End sessions that have had no step for `idle_seconds`, and close accounts that nobody settles."""
        while True:
            await asyncio.sleep(min(self.idle_seconds / 4, 5.0))
            self.accounts.retire()
            deadline = time.monotonic() - self.idle_seconds
            for session in list(self._sessions.values()):
                if session.last_active < deadline:
                    session.end(
                        Refused(Reason.IDLE, f"no step for {self.idle_seconds:.0f} s: open a new session")
                    )

    def _new_history(self, terms: pb.Terms) -> History:
        return History(rows=terms.rows, max_tokens=terms.max_tokens, hidden_size=self._engine.hidden_size)

    def _remember(self, session_id: SessionId) -> None:
        """Keep the ids of openings for as long as their time stamps would let them be replayed."""
        now = time.monotonic()
        self._seen[session_id] = now
        oldest = now - 2 * MAX_CLOCK_SKEW_SECONDS
        while self._seen and (
            next(iter(self._seen.values())) < oldest or len(self._seen) > _REMEMBERED_SESSIONS
        ):
            self._seen.popitem(last=False)

"""The sessions that a server has open: which there are, what they have leased, and when they end."""

from __future__ import annotations

import asyncio
import dataclasses
import hmac
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from p2pinfer.fairness.guest import Guest
from p2pinfer.model.engine.base import Engine
from p2pinfer.server.sessions.accounts import Accounts
from p2pinfer.server.sessions.contention import Holding, obtainable
from p2pinfer.server.sessions.lease import Lease, leased_tokens
from p2pinfer.server.streams.progress import Progress
from p2pinfer.types import SessionId, Span
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.opening import MAX_CLOCK_SKEW_SECONDS
from p2pinfer.wire.status import Reason, Refused
from p2pinfer.wire.steps import MAX_STEP_TOKENS, Contract

logger = logging.getLogger(__name__)

_REMEMBERED_SESSIONS = 100_000


class SessionTable:
    """All open sessions. It leases cache tokens to them and takes the leases back."""

    def __init__(
        self,
        engine: Engine,
        *,
        cache_tokens: int,
        idle_seconds: float,
        accounts: Accounts,
    ) -> None:
        self._engine = engine
        self._leases: dict[SessionId, Lease] = {}
        self._seen: OrderedDict[SessionId, float] = OrderedDict()
        self._clients: Counter[bytes] = Counter()
        self._leased_layer_tokens = 0
        self._reserved = 0  # layer-tokens
        self._emptied = asyncio.Event()
        self._emptied.set()
        self.cache_tokens = cache_tokens
        self.idle_seconds = idle_seconds
        self.accounts = accounts
        self._tell_rest: Callable[[int], None] = lambda layer_tokens: None

    def __len__(self) -> int:
        return len(self._leases)

    @property
    def leases(self) -> list[Lease]:
        """The open sessions, the oldest first."""
        return list(self._leases.values())

    @property
    def num_layers(self) -> int:
        """The layers of the whole span."""
        return len(self._engine.span)

    @property
    def capacity(self) -> int:
        """All that there is of the cache for sessions, in layer-tokens."""
        return self.cache_tokens * self.num_layers - self._reserved

    @property
    def free_layer_tokens(self) -> int:
        """Layer-tokens that no session has leased."""
        return self.capacity - self._leased_layer_tokens

    @property
    def free_cache_tokens(self) -> int:
        """Tokens through the whole span that no session has leased."""
        return self.free_layer_tokens // self.num_layers

    @property
    def obtainable_tokens(self) -> int:
        """Tokens through the whole span that a newcomer could have now, where others have to make room."""
        return obtainable(self.holdings(), self.capacity) // self.num_layers

    def holdings(self) -> list[Holding]:
        """What each session has of the cache, in layer-tokens; the oldest session first."""
        now = time.monotonic()
        return [
            Holding(
                session=lease.id,
                guest=lease.guest,
                promised=lease.layer_tokens,
                used=min(lease.used_layer_tokens, lease.layer_tokens),
                idle_seconds=now - lease.last_active,
            )
            for lease in self._leases.values()
        ]

    def places(self) -> list[Holding]:
        """The same, where each session has its place."""
        return [dataclasses.replace(holding, promised=1, used=1) for holding in self.holdings()]

    def find(self, session_id: SessionId) -> Lease | None:
        """The open session with this id."""
        return self._leases.get(session_id)

    def grow(self, lease: Lease, layer_tokens: int) -> None:
        """Lease a session so much more, or less if it is negative. The caller has looked what is free."""
        lease.layer_tokens += layer_tokens
        lease.changes += 1
        self._lease(layer_tokens)

    def signed(self, client: bytes) -> None:
        """A client has signed for work: it may be known from now on."""
        for lease in self._leases.values():
            if lease.client == client and not lease.guest.is_known:
                lease.guest = self.accounts.merits.guest(client, lease.guest.sources)

    def leave_rest_to(self, tell_rest: Callable[[int], None]) -> None:
        """Tell how many layer-tokens no session has leased, now and whenever that changes.

        When a session leases some it is told before the session's caches are used.
        """
        self._tell_rest = tell_rest
        self._lease(0)

    @property
    def patient_tokens(self) -> int:
        """Tokens through the whole span that sessions have leased whose texts nobody waits for."""
        leased = sum(lease.layer_tokens for lease in self._leases.values() if lease.is_patient)
        return -(-leased // len(self._engine.span))

    @property
    def max_step_tokens(self) -> int:
        """The most tokens of a step: one step must fit into what may be unsigned."""
        return min(MAX_STEP_TOKENS, self.accounts.receipt_tokens)

    def count_of(self, client: bytes) -> int:
        """Open sessions of this client."""
        return self._clients[client]

    @asynccontextmanager
    async def open(self, guest: Guest, terms: pb.Terms) -> AsyncIterator[Lease]:
        """Lease memory to a guest's session for as long as the block runs. The caller frees its caches.

        Call it right after `admit`, with no await between: what was free then is taken here. Raises Refused
        for an opening that was used before.
        """
        lease = self._new_lease(guest, terms)
        started = time.monotonic()
        try:
            yield lease
        finally:
            self._end(lease, time.monotonic() - started)

    @contextmanager
    def reserved(self, tokens: int) -> Iterator[None]:
        """Keep room for so many tokens through the whole span that belong to no session."""
        layer_tokens = tokens * self.num_layers
        self._reserve(layer_tokens)
        try:
            yield
        finally:
            self._reserve(-layer_tokens)

    def find_for(self, ref: pb.SessionRef) -> Lease:
        """The session that a client names. Raises Refused if there is none, or if the key is wrong."""
        lease = self._leases.get(SessionId(ref.session_id))
        if lease is None or not hmac.compare_digest(lease.control_key, ref.control_key):
            raise Refused(Reason.UNKNOWN_SESSION, "no session here has this id and key")
        return lease

    def announce_draining(self, seconds: float) -> None:
        """Tell the client of every session to find another server within `seconds`."""
        for lease in self._leases.values():
            lease.outbox.put(pb.ServerFrame(draining=pb.Draining(seconds=seconds)))

    async def wait_empty(self) -> None:
        """Return as soon as no session is open."""
        await self._emptied.wait()

    def end_all(self, refused: Refused) -> None:
        """End every session for this reason."""
        for lease in self.leases:
            lease.end(refused)

    async def expire_forever(self) -> None:
        """End sessions that have had no step for `idle_seconds`, and close accounts past their time."""
        while True:
            await asyncio.sleep(min(self.idle_seconds / 4, 5.0))
            self.accounts.retire()
            deadline = time.monotonic() - self.idle_seconds
            for lease in self.leases:
                if lease.last_active < deadline:
                    lease.end(
                        Refused(Reason.IDLE, f"no step for {self.idle_seconds:.0f} s: open a new session")
                    )

    def _new_lease(self, guest: Guest, terms: pb.Terms) -> Lease:
        client = guest.key
        assert client is not None, "who opens a session has signed for it"
        session_id = SessionId(terms.session_id)
        if session_id in self._seen or session_id in self._leases:
            raise Refused(Reason.BAD_OPENING, "this opening was used before: sign a new one")
        self._remember(session_id)
        layers = Span(terms.first_layer, terms.end_layer)
        progress = Progress()
        lease = Lease(
            id=session_id,
            client=client,
            guest=guest,
            layers=layers,
            contract=Contract(
                rows=terms.rows,
                max_tokens=terms.max_tokens,
                hidden_size=self._engine.hidden_size,
                wire_dtype=terms.wire_dtype,
                max_step_tokens=self.max_step_tokens,
            ),
            control_key=terms.control_key,
            account=self.accounts.open(guest, terms, progress),
            progress=progress,
            caches=[self._engine.new_cache(layers) for _ in range(terms.rows)],
            layer_tokens=leased_tokens(terms) * len(layers),
            is_patient=terms.patient,
            ended=asyncio.get_running_loop().create_future(),
        )
        self._leases[session_id] = lease
        self._emptied.clear()
        self._clients[client] += 1
        self._lease(lease.layer_tokens)
        return lease

    def _lease(self, layer_tokens: int) -> None:
        """Lease more, or less if it is negative."""
        self._leased_layer_tokens += layer_tokens
        self._tell_rest(self.free_layer_tokens)

    def _reserve(self, layer_tokens: int) -> None:
        self._reserved += layer_tokens
        self._tell_rest(self.free_layer_tokens)

    def _end(self, lease: Lease, seconds: float) -> None:
        lease.end(Refused(Reason.UNKNOWN_SESSION, "the session has ended"))
        del self._leases[lease.id]
        self.accounts.close(lease.account)
        if not self._leases:
            self._emptied.set()
        self._lease(-lease.layer_tokens)
        lease.gone.set()
        self._clients[lease.client] -= 1
        if not self._clients[lease.client]:
            del self._clients[lease.client]
        reason = lease.ended.result().reason
        logger.info(
            "session closed id=%s layers=%s tokens=%d seconds=%.1f outcome=%s",
            lease.id.hex()[:8],
            lease.layers,
            lease.tokens_run,
            seconds,
            "finished" if reason is Reason.UNKNOWN_SESSION else reason,
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

"""One run of a server's process: the real handler, sessions, runner and batcher, on their own loop."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Callable

from p2pinfer.identity import Identity
from p2pinfer.server.compute.speed import Speed
from p2pinfer.server.door.admission import Load
from p2pinfer.server.life.draining import SETTLE_SECONDS, drain
from p2pinfer.server.sessions.accounts import Accounts
from p2pinfer.server.sessions.session_runner import SessionRunner
from p2pinfer.server.sessions.session_table import SessionTable
from p2pinfer.swarm.records import announcement
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.types import LayerSeconds, Span
from p2pinfer.wire.status import Reason, Refused
from tests.fakes import MemoryBook
from tests.outside.certificates import numbered_certificate
from tests.simulator.arithmetic import MAX_POSITIONS, MODEL, NUMERICS, NumberEngine
from tests.simulator.clock import Clock
from tests.simulator.network.calls import ServerChannel
from tests.simulator.network.dialling import HostLoop
from tests.simulator.network.host import Host
from tests.simulator.network.lanes import SimLane
from tests.simulator.network.sockets import Socket
from tests.simulator.server.compute_thread import SimBatcher
from tests.simulator.server.malice import BOASTED, BOASTED_ROOM, HostileHandler, Malice
from tests.simulator.swarm import RECORD_SECONDS, SimSwarm

HEARTBEAT_SECONDS = 15.0
_PREFILL = LayerSeconds(0.0001)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ServerShape:
    """The properties that a server keeps over all its runs."""

    layers: Span
    num_layers: int
    seconds_per_layer: float = 0.002
    seconds_per_layer_token: float = 0.0002
    cache_tokens: int = 100_000
    idle_seconds: float = 120.0
    receipt_tokens: int = 256
    malice: Malice = ""


class SimServer:
    """A process. `on_event(name)` gets its events, `on_fault(error)` errors that should not occur."""

    def __init__(
        self,
        host: Host,
        identity: Identity,
        shape: ServerShape,
        swarm: SimSwarm,
        clock: Clock,
        run: int,
        on_event: Callable[[str], None],
        on_fault: Callable[[BaseException], None],
    ) -> None:
        self.host = host
        self.identity = identity
        self.shape = shape
        self.certificate = numbered_certificate(f"{host.name} in its run {run}")
        self.loop = HostLoop(clock, host.name)
        self.loop.host = host
        self.draining = False
        self.engine = NumberEngine(shape.layers, on_forward=lambda tokens: on_event("computes"))
        self.batcher = SimBatcher(self.engine, Speed(LayerSeconds(shape.seconds_per_layer), _PREFILL))
        self.batcher.rates.observe = lambda *_: None  # the engine itself takes no virtual time
        self.batcher.seconds_per_layer = shape.seconds_per_layer
        self.batcher.seconds_per_layer_token = shape.seconds_per_layer_token
        self.batcher.malice = shape.malice
        self.accounts = Accounts(identity, MemoryBook(), receipt_tokens=shape.receipt_tokens, now=clock.time)
        self.sessions = SessionTable(
            self.engine,
            cache_tokens=shape.cache_tokens,
            idle_seconds=shape.idle_seconds,
            accounts=self.accounts,
        )
        self._swarm = swarm
        self._clock = clock
        self._on_event = on_event
        self._on_fault = on_fault
        self._stopping = asyncio.Event()
        self._drain_seconds = 0.0
        self._leaves_at: float | None = None
        self._runner: SessionRunner
        self._handler: HostileHandler
        self._ready = asyncio.Event()
        self._records: dict[ServerState, Announcement] = {}
        self.loop.set_exception_handler(self._on_loop_error)
        self.main = self.loop.create_task(self._main())

    @property
    def dead(self) -> bool:
        """True when the process has ended."""
        return self.host.process is not self

    def call_soon(self, work: Callable[[], None]) -> None:
        self.loop.call_soon(work)

    def accept(self, socket: Socket, kind: str) -> None:
        self._on_event(f"accepts {kind}")
        if kind == "lane":
            self._runner.adopt(SimLane(socket, self.loop, self.host.sends_twice))
        else:
            ServerChannel(self._handler, socket, self.loop, self._on_event, self._on_fault)

    def drain(self, seconds: float) -> None:
        """Drain and leave, as SIGTERM does with --drain-seconds."""
        self._drain_seconds = seconds
        self.loop.call_soon(self._stopping.set)

    async def _main(self) -> None:
        """The life of the process, as lifecycle.py runs it."""
        with SessionRunner(self.batcher, self.loop) as runner:
            self._runner = runner
            self._handler = HostileHandler(self.sessions, runner, self._load)
            self._handler.malice = self.shape.malice
            self.host.process = self
            forever = [asyncio.create_task(self._beat()), asyncio.create_task(self.sessions.expire_forever())]
            await self._stopping.wait()
            self.draining = True
            self._leaves_at = self._clock.time() + self._drain_seconds
            self._announce(ServerState.DRAINING)
            await drain(self.sessions, self._drain_seconds, asyncio.Event(), self._on_event)
            await self.accounts.wait_settled(SETTLE_SECONDS)
            self._announce(ServerState.LEFT)
            self.sessions.end_all(Refused(Reason.LEAVING, "the server is leaving: move to another"))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2.0):
                    await self.sessions.wait_empty()
            for task in forever:
                task.cancel()
        self._on_event("has left")
        self.host.lose_process()

    async def _beat(self) -> None:
        while True:
            self._announce(ServerState.DRAINING if self.draining else ServerState.SERVING)
            await asyncio.sleep(HEARTBEAT_SECONDS)

    def _announce(self, state: ServerState) -> None:
        now = self._clock.time()
        record = self._records.get(state)
        if record is None:  # signatures take real time: one signature per state is enough
            record = announcement.decode(announcement.encode(self._describe(state), self.identity))
            self._records[state] = record
        load = {
            "queue_depth": self.batcher.depth,
            "free_cache_tokens": BOASTED_ROOM if self.shape.malice else self.sessions.free_cache_tokens,
        }
        self._swarm.announce(dataclasses.replace(record, expires_at=now + RECORD_SECONDS, **load))

    def _describe(self, state: ServerState) -> Announcement:
        now = self._clock.time()
        return Announcement(
            peer_id=self.identity.peer_id,
            model=MODEL,
            model_name="numbers",
            num_layers=self.shape.num_layers,
            layers=self.shape.layers,
            state=state,
            leaves_at=self._leaves_at,
            numerics=NUMERICS,
            endpoints=("192.0.2.1:4600",),
            certificate=self.certificate,
            decode=BOASTED if self.shape.malice else LayerSeconds(self.shape.seconds_per_layer),
            prefill=BOASTED if self.shape.malice else _PREFILL,
            announced_at=now,
            expires_at=now + RECORD_SECONDS,
        )

    def _load(self) -> Load:
        return Load(
            peer_id=self.identity.peer_id,
            model=MODEL,
            numerics=NUMERICS,
            layers=self.shape.layers,
            max_positions=MAX_POSITIONS,
            cache_tokens=self.shape.cache_tokens,
            free_cache_tokens=self.sessions.free_cache_tokens,
            patient_tokens=self.sessions.patient_tokens,
            sessions=len(self.sessions),
            draining=self.draining,
        )

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        error = context.get("exception")
        self._on_fault(error if isinstance(error, BaseException) else RuntimeError(str(context["message"])))

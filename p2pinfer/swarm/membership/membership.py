"""Membership that heals itself: when p2pd ends it is started again, with the same identity and ports.

Only a membership that has joined once is healed; a first join that fails raises its error at once. Records
aren't announced again from here: the caller waits for `wait_rejoined` and announces them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from hivemind.p2p import PeerID

from p2pinfer.errors import SwarmError, UsageError
from p2pinfer.identity import Identity, peer_id_to_bytes
from p2pinfer.price.paying import pay
from p2pinfer.swarm.addresses import by_peer, joinable, with_ports
from p2pinfer.swarm.coordinates.position import Whereabouts
from p2pinfer.swarm.kademlia.hardening import TaskOwner, current_owner
from p2pinfer.swarm.kademlia.node import SwarmNode
from p2pinfer.swarm.membership.acquaintances import Acquaintances
from p2pinfer.swarm.membership.arrival import OTHERS_SECONDS, check_clock, contact
from p2pinfer.swarm.membership.daemon import Daemon, DaemonConfig, run_daemon, unreachable
from p2pinfer.swarm.membership.pace import Pace
from p2pinfer.swarm.membership.presence import Presence, StreamHandler, lost
from p2pinfer.swarm.membership.socket_folder import private_folder
from p2pinfer.tasks import cancel_and_wait, ended, ending, first_of, unless
from p2pinfer.types import PeerId

_MOST_STARTS = 3.0
"""A start of p2pd, with all that belongs to it, may take so many times what the user has it wait for."""

_logger = logging.getLogger(__name__)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a member keeps from one stay in a swarm to the next: known peers, its own ports, and its place."""

    peers: Mapping[PeerId, tuple[str, ...]] = field(default_factory=dict)  # with their multiaddresses
    listen_maddrs: tuple[str, ...] = ()  # with the ports that the system chose; empty: as configured
    seen: Mapping[PeerId, tuple[float, float]] = field(default_factory=dict)
    """When a peer was met first and last, in Unix seconds; one that isn't in it counts as met now."""
    whereabouts: Whereabouts | None = None  # None: it was in no swarm yet


class Membership:
    """One identity's place in one swarm, through any number of p2pd processes."""

    def __init__(
        self,
        identity: Identity,
        config: DaemonConfig,
        remembered: Remembered | None = None,
        pace: Pace | None = None,
        keeps_records: Callable[[Daemon], Coroutine[Any, Any, bool]] | None = None,
    ) -> None:
        """Nothing happens before `run`. Raises UsageError for an initial peer that can't be one.

        The peers in `remembered` are greeted like initial peers, but none of them has to answer.
        `keeps_records` is asked once, when p2pd runs, whether others can dial it: who can't be dialled keeps
        no records for others. Without it, a member does, unless it is a client.
        """
        self._pace = pace or Pace()
        self._ask_keeps_records = keeps_records
        self._keeps_records = not config.client_only
        initial = by_peer(config.initial_peers)
        initial.pop(identity.peer_id, None)
        if config.initial_peers and not initial:
            raise UsageError(
                f"{config.initial_peers[0]} has this program's own identity: give the address of another "
                "peer. If the key file was copied, give each machine its own --identity FILE"
            )
        self._initial = tuple(initial)
        self._acquaintances = Acquaintances(initial, self._pace.greetings)
        self._identity = identity
        self._config = config
        self._former = remembered or Remembered()
        self._acquaintances.recall(self._former.peers, self._former.seen, time.monotonic(), time.time())
        self._contacted: set[PeerId] = set()
        self._opened_ports = self._former.listen_maddrs or config.listen_maddrs
        self._handlers: dict[str, StreamHandler] = {}
        self._present: Presence | None = None
        self._before: Presence | None = None
        self._failed_starts = 0
        self._rejoined = asyncio.Event()
        self._greeting = asyncio.Lock()
        self._alone = False
        self._left = False
        self.addresses: tuple[str, ...] = ()
        self.private_folder: Path

    @property
    def remembered(self) -> Remembered:
        """What the next stay in this swarm needs."""
        seen = self._acquaintances.seen(time.monotonic(), time.time())
        return Remembered(self._acquaintances.addresses(), self._opened_ports, seen)

    def acquaintances(self) -> dict[PeerId, tuple[str, ...]]:
        """The initial peers and others that this member has met, with their multiaddresses."""
        return self._acquaintances.addresses()

    def presence(self) -> Presence:
        """The current presence. Raises SwarmError at once if there is none."""
        self._check_not_left()
        if self._present is None or not self._present.daemon.running:
            raise lost()
        return self._present

    @property
    def daemon_pid(self) -> int | None:
        """The process id of p2pd; None while it isn't running."""
        return None if self._present is None else self._present.daemon.process.pid

    async def wait_rejoined(self) -> None:
        """Wait until this member is back the next time: p2pd runs again, or others answer again."""
        await self._rejoined.wait()

    async def add_stream_handler(self, protocol: str, handler: StreamHandler) -> None:
        """Let `handler` take the streams for `protocol`, now and after every restart of p2pd."""
        self._check_not_left()
        self._handlers[protocol] = handler
        if (presence := self._present) is None:
            return
        try:
            await presence.run(presence.take_streams(self._handlers))
        except SwarmError:
            if presence.daemon.running:
                raise
            # Otherwise the restart will add it.

    async def remove_stream_handler(self, protocol: str) -> None:
        """Take no more streams for `protocol`. Nothing happens if p2pd has ended."""
        self._handlers.pop(protocol, None)
        if (presence := self._present) is None:
            return
        try:
            await presence.run(presence.take_streams(self._handlers))
        except Exception as error:  # noqa: BLE001 - p2pd ended meanwhile, and the handler with it
            _logger.debug("stream handler not removed: %r", error)

    async def find_company(self) -> None:
        """If no peer is known, greet all that are remembered: an outage makes both ends forget each other."""
        presence = self.presence()
        if not presence.alone:
            return
        if not self._greeting.locked():
            await self._greet(presence)
        else:
            async with self._greeting:
                pass  # another caller greets already: wait for the outcome

    async def run(self, joined: asyncio.Future[None], leave: asyncio.Event) -> None:
        """Join, set `joined`, and be a member until `leave` is set.

        Raises what prevents the first join: SwarmUnreachableError, SwarmError.
        """
        ends_in_a_row, last_reason = 0, ""
        try:
            with private_folder() as self.private_folder:
                while not leave.is_set():
                    began = time.monotonic()
                    reason = "p2pd has ended"
                    try:
                        await self._unless_left(self._be_present(joined, leave), leave)
                    except Exception as error:  # the next attempt may succeed, whatever this was
                        if not joined.done():
                            raise
                        _logger.debug("a presence in the swarm failed", exc_info=True)
                        reason = str(error) or repr(error)
                    if leave.is_set():
                        break
                    steady = time.monotonic() - began > self._pace.steady_seconds
                    ends_in_a_row = 1 if steady else ends_in_a_row + 1
                    if self._failed_starts == 0:
                        _logger.warning("%s: starting it again", reason)
                    elif reason != last_reason:  # log the same reason once, not at every attempt
                        _logger.warning("p2pd doesn't start again yet: %s", reason)
                    last_reason = reason
                    await _sleep(self._pace.restarts.seconds(ends_in_a_row), leave)
        finally:
            self._left = True

    async def _unless_left(self, presence: Coroutine[Any, Any, None], leave: asyncio.Event) -> None:
        """Run a presence. When `leave` is set, one that has begun ends by itself, others are cancelled."""
        task, leaving = asyncio.create_task(presence), asyncio.create_task(leave.wait())
        try:
            await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if self._present is not None:
                await asyncio.wait({task})
        finally:
            await ended(asyncio.create_task(cancel_and_wait(task, leaving)))
        if not task.cancelled():
            task.result()

    async def _be_present(self, joined: asyncio.Future[None], leave: asyncio.Event) -> None:
        """Be present from a start of p2pd to its end, or until `leave` is set."""
        first = not joined.done()
        if not self._config.client_only:
            await pay(self._identity)
        owner = TaskOwner()
        current_owner.set(owner)
        config = self._config
        if first:
            config = replace(config, listen_maddrs=self._opened_ports)
        else:
            config = replace(config, listen_maddrs=self._listen_again())
        self._failed_starts += 1
        async with run_daemon(
            self._identity,
            config,
            self.private_folder,
            answer_seconds=self._pace.answer_seconds,
            stop_seconds=self._pace.stop_seconds,
        ) as daemon:
            presence = await self._in_time(daemon, self._arrive(daemon, config, owner, first=first))
            self._present = self._before = presence
            try:
                # Those that were added, or removed, while nobody could know that we are back.
                await self._in_time(daemon, presence.take_streams(self._handlers))
                self._failed_starts = 0
                if first:
                    joined.set_result(None)
                else:
                    _logger.warning("p2pd runs again: the connection to the swarm is restored")
                    self._tell_rejoined()
                await self._stay(presence, leave)
                self._left = leave.is_set()
                if self._left:
                    await presence.say_goodbye()
            finally:
                self._present = None

    async def _in_time(self, daemon: Daemon, work: Coroutine[Any, Any, _T]) -> _T:
        """Do what belongs to a start of p2pd. Raises SwarmError if p2pd ends meanwhile, or hangs."""
        try:
            async with asyncio.timeout(_MOST_STARTS * self._config.startup_timeout_seconds):
                return await unless(daemon.process.wait(), work, SwarmError("p2pd has ended at its start"))
        except TimeoutError as error:
            raise SwarmError("p2pd hangs at its start") from error

    async def _arrive(
        self, daemon: Daemon, config: DaemonConfig, owner: TaskOwner, *, first: bool
    ) -> Presence:
        """Take part through a p2pd that has just started; at the `first` one others have to be found."""
        if first:
            await self._contact(daemon)
            if self._keeps_records and self._ask_keeps_records is not None:
                self._keeps_records = await self._ask_keeps_records(daemon)
        presence = await Presence.begin(
            daemon,
            proof=self._identity.proof,
            client_only=not self._keeps_records,
            before=self._before,
            owner=owner,
            times=self._pace.requests,
            anchors=self._acquaintances.anchors,
        )
        await (self._meet_first(presence) if first else self._return(presence))
        if config.listen_maddrs and not config.client_only:
            visible = await daemon.visible_maddrs()
            self.addresses = joinable(visible)
            self._opened_ports = with_ports(config.listen_maddrs, visible)
        return presence

    def _listen_again(self) -> tuple[str, ...]:
        """The addresses to listen on at a restart: the old ones, until p2pd has failed there too often."""
        if self._failed_starts >= self._pace.starts_at_old_ports:
            return self._config.listen_maddrs
        return self._opened_ports

    async def _contact(self, daemon: Daemon) -> None:
        """Connect to the initial peers, and to those known from before. Raises SwarmUnreachableError."""
        if not self._initial:
            return
        addresses = self._acquaintances.addresses()
        self._contacted = await contact(
            daemon,
            {peer_id: addresses[peer_id] for peer_id in self._initial},
            {peer_id: addresses[peer_id] for peer_id in self._former.peers if peer_id in addresses},
            most_seconds=self._config.startup_timeout_seconds,
            settle_seconds=self._pace.requests.settle_seconds,
        )
        if not self._contacted:
            raise unreachable(self._config.initial_peers)

    async def _meet_first(self, presence: Presence) -> None:
        """Meet who has answered, so that others know us. Raises SwarmUnreachableError, SwarmError."""
        if not self._initial:
            self._acquaintances.greeted(self._former.peers, time.monotonic())
            with suppress(TimeoutError):  # greeting goes on later
                async with asyncio.timeout(OTHERS_SECONDS):
                    await presence.greet(self._former.peers, connected=set())
            return
        node = presence.node
        others = self._contacted - set(self._initial)
        try:
            async with (
                asyncio.timeout(self._config.startup_timeout_seconds),
                ending(asyncio.create_task(node.meet(_ids(others)))) as meeting_others,
            ):
                differences: list[float] = []
                if others != self._contacted:
                    differences = await self._meet_initial_peers(presence)
                settle_seconds = self._pace.requests.settle_seconds if differences else None
                await asyncio.wait({meeting_others}, timeout=settle_seconds)
                # Only where no initial peer answers, strangers may say that our clock is wrong.
                if differences := sorted(differences or meeting_others.result()):
                    check_clock(differences[len(differences) // 2])
                elif presence.alone:
                    raise self._nobody(node)
                await node.find_nearest_nodes([node.node_id])
        except TimeoutError as error:
            raise self._nobody(node) from error

    def _nobody(self, node: SwarmNode) -> SwarmError:
        """The error for a join that met nobody: of those that answered, why they can't be neighbours."""
        if node.protocol.foreign:
            return SwarmError(
                f"can't join at {', '.join(self._config.initial_peers)}: {node.protocol.foreign}"
            )
        return unreachable(self._config.initial_peers)

    async def _meet_initial_peers(self, presence: Presence) -> list[float]:
        """The clock differences of those that answer; none if others know us meanwhile, or nobody answers."""
        failures = 0
        while not (differences := await presence.node.meet(_ids(self._initial))) and presence.alone:
            failures += 1
            if failures == self._pace.most_meetings:
                break
            await asyncio.sleep(self._pace.meetings.seconds(failures))
        return differences

    async def _return(self, presence: Presence) -> None:
        """Take streams and greet all remembered peers. None has to answer: greeting goes on later."""
        await presence.take_streams(self._handlers)
        everybody = self._acquaintances.addresses()
        self._acquaintances.greeted(everybody, time.monotonic())
        await presence.greet(everybody, connected=set())

    async def _stay(self, presence: Presence, leave: asyncio.Event) -> None:
        """Stay until p2pd ends or `leave` is set. Raises SwarmError if p2pd hangs, or isn't heard."""
        daemon = presence.daemon
        await first_of(
            daemon.process.wait(), leave.wait(), self._look_around(presence), daemon.wait_unheard()
        )

    async def _look_around(self, presence: Presence) -> None:
        """Remember the connected peers, and greet those that may not know us (see acquaintances.py)."""
        silent_looks = 0
        while True:
            try:
                await self._greet(presence)
                silent_looks = 0
            except SwarmError as error:
                silent_looks += 1
                if silent_looks == self._pace.most_silent_looks:
                    raise SwarmError("p2pd hangs") from error
            await asyncio.sleep(self._pace.look_seconds)

    async def _greet(self, presence: Presence) -> None:
        async with self._greeting:
            now = time.monotonic()
            connected = await presence.connected()
            known = presence.known()
            self._acquaintances.saw({peer: connected[peer] for peer in known & connected.keys()}, now)
            due = self._acquaintances.due(now, known, connected.keys())
            if due:
                await presence.run(presence.greet(due, connected.keys()))
            # Not only a greeting of ours ends this: others may have greeted us.
            was_alone, self._alone = self._alone, presence.alone
            if was_alone and not self._alone:
                self._tell_rejoined()

    def _tell_rejoined(self) -> None:
        event, self._rejoined = self._rejoined, asyncio.Event()
        event.set()

    def _check_not_left(self) -> None:
        if self._left:
            raise SwarmError("this swarm has been left: join again")


def _ids(peers: Collection[PeerId]) -> list[PeerID]:
    return [PeerID(peer_id_to_bytes(peer)) for peer in peers]


async def _sleep(seconds: float, leave: asyncio.Event) -> None:
    """Sleep, but only until `leave` is set."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await leave.wait()

"""Membership that heals itself: whenever p2pd ends it is started again, under the same identity and ports.

Only a membership that once stood is healed; the first join fails at once if it can't be. Records aren't
announced again from here: who announces waits for `wait_rejoined` and does it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hivemind.p2p import PeerID

from p2pinfer.errors import SwarmError
from p2pinfer.identity import Identity, peer_id_to_bytes
from p2pinfer.swarm.addresses import check_peer_address, joinable, with_ports
from p2pinfer.swarm.kademlia.hardening import TaskOwner, current_owner
from p2pinfer.swarm.membership.acquaintances import Acquaintances, restart_delay_seconds
from p2pinfer.swarm.membership.daemon import DaemonConfig, run_daemon, unreachable
from p2pinfer.swarm.membership.presence import Presence, StreamHandler, lost
from p2pinfer.swarm.membership.socket_folder import private_folder
from p2pinfer.tasks import undisturbed, unless
from p2pinfer.types import PeerId

MAX_CLOCK_DIFFERENCE_SECONDS = 20.0
_LOOK_SECONDS = 5.0  # between two looks at who is connected
_MOST_SILENT_LOOKS = 4  # then p2pd hangs: it has been silent for half a minute
_STEADY_SECONDS = 60.0  # a presence of that length was no failure
_STARTS_AT_OLD_PORTS = 5  # then somebody else has them: better at another port than nowhere

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a member takes from one stay in a swarm to the next: whom it knew, and where others knew it."""

    peers: Mapping[PeerId, tuple[str, ...]] = field(default_factory=dict)  # by multiaddresses
    listen_maddrs: tuple[str, ...] = ()  # with the ports that the system chose; empty: as it is told


class Membership:
    """One identity's place in one swarm, through any number of p2pd processes."""

    def __init__(
        self, identity: Identity, config: DaemonConfig, remembered: Remembered | None = None
    ) -> None:
        """Nothing happens before `run`. Raises UsageError for a malformed initial peer.

        Those `remembered` from before are greeted like initial peers, but needn't be there.
        """
        initial: dict[PeerId, list[str]] = {}
        for address in config.initial_peers:
            initial.setdefault(PeerId(check_peer_address(address)), []).append(address)
        initial.pop(identity.peer_id, None)
        self._initial = tuple(initial)
        self._acquaintances = Acquaintances(initial)
        self._identity = identity
        self._config = config
        self._former = remembered or Remembered()
        self._acquaintances.saw(self._former.peers, time.monotonic())
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
        """For the next stay in the same swarm."""
        return Remembered(self._acquaintances.addresses(), self._opened_ports)

    def presence(self) -> Presence:
        """The presence that stands now. Raises SwarmError, instead of waiting, if there is none."""
        self._check_not_left()
        if self._present is None or not self._present.daemon.running:
            raise lost()
        return self._present

    @property
    def daemon_pid(self) -> int | None:
        """The process that is p2pd now."""
        return None if self._present is None else self._present.daemon.process.pid

    async def wait_rejoined(self) -> None:
        """Return after the next time that we are back: p2pd runs again, or others answer again."""
        await self._rejoined.wait()

    async def add_stream_handler(self, protocol: str, handler: StreamHandler) -> None:
        """Let `handler` take the streams for `protocol`, now and after every restart."""
        self._check_not_left()
        self._handlers[protocol] = handler
        if (presence := self._present) is None:
            return
        try:
            await presence.run(presence.take_streams(protocol, handler))
        except (OSError, EOFError, SwarmError):
            if presence.daemon.running:
                raise
            # Otherwise the restart will add it.

    async def remove_stream_handler(self, protocol: str) -> None:
        """Take no more streams for `protocol`. Quiet if p2pd is gone."""
        self._handlers.pop(protocol, None)
        if (presence := self._present) is None:
            return
        try:
            await presence.run(presence.daemon.p2p.remove_binary_stream_handler(protocol))
        except Exception as error:  # noqa: BLE001 - p2pd ended meanwhile, and the handler with it
            _logger.debug("stream handler not removed: %r", error)

    async def find_company(self) -> None:
        """If we know nobody (an outage makes both ends forget each other), greet all whom we remember."""
        presence = self.presence()
        if not presence.alone:
            return
        if not self._greeting.locked():
            await self._greet(presence)
        else:
            async with self._greeting:
                pass  # it is being done: the outcome is ours as well

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
                    except Exception as error:  # whatever it is, the next attempt may succeed
                        if not joined.done():
                            raise
                        _logger.debug("a presence in the swarm failed", exc_info=True)
                        reason = str(error) or repr(error)
                    if leave.is_set():
                        break
                    steady = time.monotonic() - began > _STEADY_SECONDS
                    ends_in_a_row = 1 if steady else ends_in_a_row + 1
                    if self._failed_starts == 0:
                        _logger.warning("%s: starting it again", reason)
                    elif reason != last_reason:  # not the same for every attempt
                        _logger.warning("p2pd doesn't start again yet: %s", reason)
                    last_reason = reason
                    await _sleep(restart_delay_seconds(ends_in_a_row), leave)
        finally:
            self._left = True

    async def _unless_left(self, presence: Coroutine[Any, Any, None], leave: asyncio.Event) -> None:
        """Run a presence. If `leave` is set, one that stands ends by itself, and others are cut short."""
        task, leaving = asyncio.create_task(presence), asyncio.create_task(leave.wait())
        try:
            await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if self._present is not None:
                await asyncio.wait({task})
        finally:
            leaving.cancel()
            task.cancel()
            await undisturbed(asyncio.create_task(_settled(task, leaving)))
        if not task.cancelled():
            task.result()

    async def _be_present(self, joined: asyncio.Future[None], leave: asyncio.Event) -> None:
        """From a start of p2pd to its end, or until `leave` is set."""
        first = not joined.done()
        owner = TaskOwner()
        current_owner.set(owner)
        config = self._config
        if first:
            config = replace(config, listen_maddrs=self._opened_ports)
        else:
            config = replace(config, bootstrap=False, listen_maddrs=self._listen_again())
        self._failed_starts += 1
        async with run_daemon(self._identity, config, self.private_folder) as daemon:
            presence = await Presence.begin(
                daemon, client_only=config.client_only, before=self._before, owner=owner
            )
            arrival = self._meet_initial_peers(presence) if first else self._return(presence)
            await unless(daemon.process.wait(), arrival, SwarmError("p2pd has ended at its start"))
            if config.listen_maddrs:
                visible = await presence.visible_addresses()
                self.addresses = joinable(visible)
                self._opened_ports = with_ports(config.listen_maddrs, visible)
            self._present = self._before = presence
            self._failed_starts = 0
            if first:
                joined.set_result(None)
            else:
                _logger.warning("p2pd runs again: the connection to the swarm is restored")
                self._tell_rejoined()
            try:
                await self._stay(presence, leave)
                self._left = leave.is_set()
                if self._left:
                    await presence.say_goodbye()
            finally:
                self._present = None

    def _listen_again(self) -> tuple[str, ...]:
        """The addresses to listen on at a restart: where others know us, unless that failed too often."""
        if self._failed_starts >= _STARTS_AT_OLD_PORTS:
            return self._config.listen_maddrs
        return self._opened_ports

    async def _meet_initial_peers(self, presence: Presence) -> None:
        if self._former.peers:
            self._acquaintances.greeted(self._former.peers, time.monotonic())
            await presence.greet(self._former.peers, connected=set())
        if not self._config.initial_peers:
            return
        node = presence.node
        try:
            async with asyncio.timeout(self._config.startup_timeout_seconds):
                peers = [PeerID(peer_id_to_bytes(peer)) for peer in self._initial]
                differences = sorted(await node.meet(peers))
                if not differences:
                    if not presence.alone:
                        return
                    raise unreachable(self._config.initial_peers)
                _check_clock(differences[len(differences) // 2])
                await node.find_nearest_nodes([node.node_id])
        except TimeoutError as error:
            raise unreachable(self._config.initial_peers) from error

    async def _return(self, presence: Presence) -> None:
        """Take streams and greet everybody remembered. Nobody has to answer: we go on greeting later."""
        taken: set[str] = set()
        while missing := [protocol for protocol in self._handlers if protocol not in taken]:
            for protocol in missing:
                taken.add(protocol)
                if (handler := self._handlers.get(protocol)) is not None:
                    await presence.take_streams(protocol, handler)
        everybody = self._acquaintances.addresses()
        self._acquaintances.greeted(everybody, time.monotonic())
        await presence.greet(everybody, connected=set())

    async def _stay(self, presence: Presence, leave: asyncio.Event) -> None:
        """Until p2pd ends or `leave` is set. Raises SwarmError if p2pd hangs."""
        tasks = [
            asyncio.create_task(work)
            for work in (presence.daemon.process.wait(), leave.wait(), self._look_around(presence))
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    async def _look_around(self, presence: Presence) -> None:
        """Remember who is there, and greet who should know us but may not (see acquaintances.py)."""
        silent_looks = 0
        while True:
            try:
                await self._greet(presence)
                silent_looks = 0
            except SwarmError as error:
                silent_looks += 1
                if silent_looks == _MOST_SILENT_LOOKS:
                    raise SwarmError("p2pd hangs") from error
            await asyncio.sleep(_LOOK_SECONDS)

    async def _greet(self, presence: Presence) -> None:
        async with self._greeting:
            now = time.monotonic()
            connected = await presence.connected()
            known = presence.known()
            self._acquaintances.saw({peer: connected[peer] for peer in known & connected.keys()}, now)
            due = self._acquaintances.due(now, known, connected.keys())
            if due:
                await presence.run(presence.greet(due, connected.keys()))
            # Others may have greeted us as well.
            was_alone, self._alone = self._alone, presence.alone
            if was_alone and not self._alone:
                self._tell_rejoined()

    def _tell_rejoined(self) -> None:
        event, self._rejoined = self._rejoined, asyncio.Event()
        event.set()

    def _check_not_left(self) -> None:
        if self._left:
            raise SwarmError("this swarm has been left: join again")


def _check_clock(seconds_ahead: float) -> None:
    """Records live for a minute: with a clock far off, ours would be born dead, and others' seem to be."""
    if abs(seconds_ahead) > MAX_CLOCK_DIFFERENCE_SECONDS:
        direction = "behind" if seconds_ahead > 0 else "ahead of"
        raise SwarmError(
            f"this machine's clock is {abs(seconds_ahead):.0f} s {direction} the swarm's: set it, then retry"
        )


async def _settled(*tasks: asyncio.Task[Any]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


async def _sleep(seconds: float, leave: asyncio.Event) -> None:
    """Sleep, but not beyond the moment that `leave` is set."""
    with suppress(TimeoutError):
        await asyncio.wait_for(leave.wait(), seconds)

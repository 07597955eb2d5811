"""Circuits: pairs of streams that a relay joins. Each carries bytes both ways until one side ends."""

from __future__ import annotations

import asyncio
import logging

from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.room import Holder, first_to_go
from p2pinfer.fairness.shares import Bound, Lack, Shares
from p2pinfer.swarm.membership.daemon import Stream
from p2pinfer.swarm.reach.relay.allowance import MAX_CIRCUITS, MAX_CIRCUITS_PER_CLIENT, TokenBucket
from p2pinfer.swarm.reach.relay.framing import close_streams
from p2pinfer.swarm.reach.relay.messages import Status
from p2pinfer.swarm.reach.relay.passed import PassedOn
from p2pinfer.tasks import cancel_and_wait, first_of
from p2pinfer.types import PeerId, short_id

MAX_CIRCUITS_PER_SOURCE = 96  # of a home with several machines, or a carrier that shares addresses
EMPTY_SECONDS = 10.0
"""A circuit that has carried nothing so long after its opening ends when another one needs its place."""
IDLE_SECONDS = 60.0
"""One that carries nothing more for so long does, too."""

STALL_SECONDS = 30.0
"""A circuit ends if one side takes nothing for so long while there is something for it."""

_PIECE_BYTES = 64 * 1024
_METERED_PIECE_BYTES = 16 * 1024  # small, so that a token of one circuit doesn't wait long for a prompt's
_FLUSH_SECONDS = 2.0

_logger = logging.getLogger(__name__)


def _bound(most: int, most_per_client: int) -> Bound:
    return Bound(in_all=most, per_source=MAX_CIRCUITS_PER_SOURCE, per_key=most_per_client)


class Circuit:
    """A place for one circuit; its streams are joined when both are open."""

    def __init__(self, client: PeerId, guest: Guest, turn: asyncio.Lock, now: float) -> None:
        self.client = client
        self.guest = guest
        self.turn = turn  # of this client: whoever has it waits for the rate, for all circuits of the client
        self.moved_at = now
        self.has_moved = False
        self.task = asyncio.current_task()

    def is_idle(self, now: float) -> bool:
        """True if it carries nothing."""
        return now - self.moved_at >= (IDLE_SECONDS if self.has_moved else EMPTY_SECONDS)


class Circuits:
    """The open circuits of a relay, with their limits and their common rate."""

    def __init__(self, passed: PassedOn) -> None:
        self._passed = passed
        self._bucket = TokenBucket()
        self._metered = False
        self._open: set[Circuit] = set()
        self._shares = Shares(_bound(MAX_CIRCUITS, MAX_CIRCUITS_PER_CLIENT))
        self._turns: dict[PeerId, asyncio.Lock] = {}

    def __len__(self) -> int:
        return len(self._open)

    def set_rate(self, bytes_per_second: float | None) -> None:
        """Change the rate of all circuits together; None: unlimited."""
        self._metered = bytes_per_second is not None
        self._bucket.set_rate(bytes_per_second)

    def refusal(self, guest: Guest, most: int, most_per_client: int) -> Status | None:
        """Why this client can't have one more circuit; None if it can.

        If it lacks a place, a circuit makes room that carries nothing, or one of those who have most.
        """
        self._shares.bound = _bound(most, most_per_client)
        now = asyncio.get_running_loop().time()
        while (lack := self._shares.lack(guest)) is not None:
            holders = (
                Holder(what=one, guest=one.guest, is_idle=one.is_idle(now), used_at=one.moved_at)
                for one in self._open
            )
            circuit = first_to_go(guest, lack, holders, self._shares)
            if circuit is None:
                return Status.LIMIT if lack in (Lack.KEY, Lack.SOURCE) else Status.FULL
            self.free(circuit)
            if circuit.task is not None:
                circuit.task.cancel()
        return None

    def take(self, client: PeerId, guest: Guest) -> Circuit:
        """Take a place, for the current task; `free` gives it back."""
        turn = self._turns.setdefault(client, asyncio.Lock())
        circuit = Circuit(client, guest, turn, asyncio.get_running_loop().time())
        self._open.add(circuit)
        self._shares.take(guest)
        return circuit

    def free(self, circuit: Circuit) -> None:
        """Give a place back. Nothing happens if that was done."""
        if circuit in self._open:
            self._open.discard(circuit)
            self._shares.give_back(circuit.guest)
            if not self._shares.of_key(circuit.guest.key):
                del self._turns[circuit.client]

    async def join(self, circuit: Circuit, asker: Stream, target: Stream) -> None:
        """Pass bytes on, untouched, until one side ends; then send what is left, and close both.

        libp2p's streams end as a whole here: what the other side still sends has nobody to read it.
        """
        clean = False
        try:
            await first_of(
                self._pass_on(circuit, asker[0], target[1]), self._pass_on(circuit, target[0], asker[1])
            )
            clean = True
        except (OSError, EOFError) as error:
            _logger.debug("circuit broke client=%s reason=%s", short_id(circuit.client), error)
        except asyncio.CancelledError:
            clean = True  # it is ended by us
            raise
        finally:
            await close_streams(asker, target, flush_seconds=_FLUSH_SECONDS if clean else 0.0)

    async def end_all(self) -> None:
        """End all circuits. What is on its way through this process may be lost: tunnels resume elsewhere."""
        await cancel_and_wait(*(circuit.task for circuit in self._open))

    async def _pass_on(
        self, circuit: Circuit, source: asyncio.StreamReader, sink: asyncio.StreamWriter
    ) -> None:
        loop = asyncio.get_running_loop()
        while piece := await source.read(_METERED_PIECE_BYTES if self._metered else _PIECE_BYTES):
            circuit.moved_at, circuit.has_moved = loop.time(), True
            if self._metered:
                async with circuit.turn:  # so clients share the rate, however many circuits each of them has
                    await asyncio.sleep(self._bucket.take(len(piece), loop.time()))
            try:
                sink.write(piece)
                async with asyncio.timeout(STALL_SECONDS):
                    await sink.drain()
            except TimeoutError:
                raise
            except OSError:
                # The sink's side has ended. The other direction sends what is left of its words, then ends.
                await asyncio.sleep(_FLUSH_SECONDS)
                raise
            self._passed.count(len(piece))

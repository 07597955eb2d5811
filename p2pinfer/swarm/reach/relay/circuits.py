"""Circuits: pairs of streams that a relay joins. Each carries bytes both ways until one side ends."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

from p2pinfer.swarm.membership.daemon import Stream
from p2pinfer.swarm.reach.relay.allowance import TokenBucket
from p2pinfer.swarm.reach.relay.framing import close_streams
from p2pinfer.swarm.reach.relay.messages import Status
from p2pinfer.swarm.reach.relay.passed import PassedOn
from p2pinfer.tasks import cancel_and_wait, first_of
from p2pinfer.types import PeerId, short_id

MAX_CIRCUITS_PER_ADDRESS = 96  # of a home with several machines, or a carrier that shares addresses
IDLE_SECONDS = 60.0
"""A circuit that carried nothing for so long ends when another one needs its place."""

STALL_SECONDS = 30.0
"""A circuit ends if one side takes nothing for so long while there is something for it."""

_PIECE_BYTES = 64 * 1024
_METERED_PIECE_BYTES = 16 * 1024  # small, so that a token of one circuit doesn't wait long for a prompt's
_FLUSH_SECONDS = 2.0

_logger = logging.getLogger(__name__)


class Circuit:
    """A place for one circuit; its streams are joined when both are open."""

    def __init__(self, client: PeerId, groups: frozenset[str], turn: asyncio.Lock, now: float) -> None:
        self.client = client
        self.groups = groups
        self.turn = turn  # of this client: whoever has it waits for the rate, for all circuits of the client
        self.moved_at = now
        self.task = asyncio.current_task()


class Circuits:
    """The open circuits of a relay, with their limits and their common rate."""

    def __init__(self, passed: PassedOn) -> None:
        self._passed = passed
        self._bucket = TokenBucket()
        self._metered = False
        self._open: set[Circuit] = set()
        self._of_client: Counter[PeerId] = Counter()
        self._turns: dict[PeerId, asyncio.Lock] = {}
        self._of_group: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def set_rate(self, bytes_per_second: float | None) -> None:
        """Change the rate of all circuits together; None: unlimited."""
        self._metered = bytes_per_second is not None
        self._bucket.set_rate(bytes_per_second)

    def refusal(
        self, client: PeerId, groups: frozenset[str], most: int, most_per_client: int
    ) -> Status | None:
        """Why this client can't have one more circuit; None if it can.

        If all places are taken, the circuit that has been idle longest makes room, if it has been idle long.
        """
        if self._of_client[client] >= most_per_client:
            return Status.LIMIT
        if any(self._of_group[group] >= MAX_CIRCUITS_PER_ADDRESS for group in groups):
            return Status.LIMIT
        if len(self._open) >= most and not self._make_room():
            return Status.FULL
        return None

    def take(self, client: PeerId, groups: frozenset[str]) -> Circuit:
        """Take a place, for the current task; `free` gives it back."""
        turn = self._turns.setdefault(client, asyncio.Lock())
        circuit = Circuit(client, groups, turn, asyncio.get_running_loop().time())
        self._open.add(circuit)
        self._of_client[client] += 1
        self._of_group.update(groups)
        return circuit

    def free(self, circuit: Circuit) -> None:
        """Give a place back. Nothing happens if that was done."""
        if circuit in self._open:
            self._open.discard(circuit)
            self._of_client -= Counter({circuit.client: 1})
            if not self._of_client[circuit.client]:
                del self._turns[circuit.client]
            self._of_group -= Counter(circuit.groups)

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

    def _make_room(self) -> bool:
        """End the circuit that has been idle longest, if it has been idle long."""
        idlest = min(self._open, key=lambda circuit: circuit.moved_at, default=None)
        if idlest is None or asyncio.get_running_loop().time() - idlest.moved_at < IDLE_SECONDS:
            return False
        self.free(idlest)
        if idlest.task is not None:
            idlest.task.cancel()
        return True

    async def _pass_on(
        self, circuit: Circuit, source: asyncio.StreamReader, sink: asyncio.StreamWriter
    ) -> None:
        loop = asyncio.get_running_loop()
        while piece := await source.read(_METERED_PIECE_BYTES if self._metered else _PIECE_BYTES):
            circuit.moved_at = loop.time()
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

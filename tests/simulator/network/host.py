"""A machine with one process or none, and what happens to connections when processes start, stop and end."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from p2pinfer.types import PeerId
from tests.simulator.network.sockets import Socket

if TYPE_CHECKING:
    from tests.simulator.network.network import Network


class Process(Protocol):
    """What runs on a host."""

    certificate: bytes

    def call_soon(self, work: Callable[[], None]) -> None:
        """Let the process run `work`, unless it is stopped."""

    def accept(self, socket: Socket, kind: str) -> None:
        """Take a connection: a lane, or one for calls."""


@dataclass(eq=False)
class Host:
    """The machine of a peer. `twice`: how many more frames are sent twice."""

    name: str
    peer_id: PeerId
    network: Network
    process: Process | None = None
    twice: int = 0
    sockets: list[Socket] = field(default_factory=list)
    order: int = field(default_factory=itertools.count().__next__)

    def sends_twice(self) -> bool:
        """Whether to send a frame twice."""
        self.twice -= 1
        return self.twice >= 0

    def answer(self, socket: Socket) -> None:
        """Answer a new connection: first the kernel answers, then the process shows its certificate."""
        try:
            message = socket.take()
        except (OSError, EOFError):  # the dialling end has given up
            socket.close()
            return
        if message == "syn":
            if self.process is None:
                socket.close()
            else:
                socket.push("synack", 0)
        elif message is not None and self.process is not None:
            process, (_, kind) = self.process, message
            self.sockets.append(socket)
            socket.on_readable = None
            process.call_soon(lambda: self._let_in(process, socket, kind))
        else:
            socket.close()

    def _let_in(self, process: Process, socket: Socket, kind: str) -> None:
        if not (socket.ended or socket.closed):
            socket.push(("certificate", process.certificate), 0)
            process.accept(socket, kind)
        else:
            socket.close()

    def lose_process(self) -> None:
        """End the process: its kernel closes its connections."""
        self.process = None
        sockets, self.sockets = self.sockets, []
        for socket in sockets:
            socket.close()

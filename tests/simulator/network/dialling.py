"""How connections are set up: the kernel answers the first round trip, the process the second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from p2pinfer.errors import HopFailedError
from p2pinfer.types import Address
from tests.simulator.clock import VirtualLoop
from tests.simulator.network.host import Host
from tests.simulator.network.lanes import SimLane
from tests.simulator.network.sockets import Socket

Kind = Literal["lane", "calls"]


async def connect(host: Host, address: Address, kind: Kind, seconds: float) -> Socket:
    """A connection to a server that shows the certificate of its record. Raises HopFailedError."""
    network, loop = host.network, asyncio.get_running_loop()
    here, there = network.socket_pair(host, network.hosts[address.peer_id])
    answered: asyncio.Future[bool] = loop.create_future()

    def settle(well: bool) -> None:
        if not answered.done():
            answered.set_result(well)

    def read() -> None:
        try:
            answer = here.take()
        except (OSError, EOFError):
            loop.call_soon(settle, False)
            return
        if answer == "synack":
            here.push(("client hello", kind), 0)
        elif answer is not None:
            loop.call_soon(settle, answer == ("certificate", address.certificate))

    here.on_readable = read
    there.on_readable = lambda: network.hosts[address.peer_id].answer(there)
    here.push("syn", 0)
    try:
        async with asyncio.timeout(seconds):
            if await answered:
                here.on_readable = None
                host.sockets.append(here)
                return here
            detail = "unreachable: refused, or another certificate"
    except TimeoutError:
        detail = "unreachable: no answer"
    finally:
        if here not in host.sockets:
            here.close()
    raise HopFailedError(address.peer_id, detail)


@asynccontextmanager
async def lane_to(
    address: Address, ways: object, seconds: float, *, hides_failures: bool = False
) -> AsyncIterator[SimLane]:
    """Replaces `lane_to` of wire/lanes.py: a lane from the running loop's host. Raises HopFailedError."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, HostLoop)
    socket = await connect(loop.host, address, "lane", seconds)
    yield SimLane(socket, loop, loop.host.sends_twice)


class HostLoop(VirtualLoop):
    """A loop that knows its host."""

    host: Host

"""Real servers that join together and choose their layers themselves, and what is announced meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from p2pinfer.identity import Identity
from p2pinfer.local_swarm.server_process import ServerProcess
from p2pinfer.swarm.census.stretches import replicas
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.types import Span

READY_SECONDS = 240.0


@dataclass
class Burst:
    """Servers of one model. All but the first are started at once."""

    servers: list[ServerProcess]
    initial_peers: Sequence[str]
    launched_at: float  # time.monotonic() of the last one's start

    def wait_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        for server in self.servers:
            server.wait_ready(deadline)

    @property
    def layers(self) -> list[Span]:
        """What each of them serves, as it says when it is ready."""
        [lines] = [[line for server in self.servers for line in server.lines if line.startswith("ready: ")]]
        return [Span.parse(line.split()[2]) for line in lines]


def fewest(spans: Sequence[Span], num_layers: int) -> int:
    """How many of the spans hold the layer that fewest hold."""
    return min(stretch.servers for stretch in replicas(spans, num_layers))


def claimed(records: Sequence[Announcement]) -> list[Span]:
    """The layers of those that serve or have settled what they load."""
    return [
        record.layers
        for record in records
        if record.state is ServerState.SERVING
        or (record.state is ServerState.JOINING and not record.is_undecided)
    ]


@contextmanager
def burst(
    number: int, model: Path, folder: Path, *arguments: str, initial_peers: Sequence[str] = ()
) -> Iterator[Burst]:
    """Start servers; without `initial_peers` the first one begins the swarm."""
    with ExitStack() as stack:
        servers: list[ServerProcess] = []
        for index in range(number):
            server = ServerProcess(
                [
                    "p2pinfer.server",
                    str(model),
                    "--listen", "127.0.0.1:0",
                    "--identity", str(folder / f"{index}.key"),
                    "--data-folder", str(folder / str(index)),
                    "--accept",
                    "--threads", "1",
                    "--max-cache-tokens", "256",
                    *arguments,
                    *(["--initial-peers", *initial_peers] if initial_peers else []),
                ],
                layers=Span(0, 1),
            )  # fmt: skip
            stack.callback(server.close)
            servers.append(server)
            if not initial_peers:
                initial_peers = server.wait_joinable(time.monotonic() + READY_SECONDS)
        yield Burst(servers, initial_peers, time.monotonic())


@contextmanager
def identities(folder: Path, number: int) -> Iterator[list[Identity]]:
    """Keys in files."""
    yield [Identity.load_or_create(folder / f"{index}.key") for index in range(number)]


async def seconds_until_whole(swarm: Swarm, model: str, num_layers: int, since: float) -> float:
    """Watch the records until every layer is held or firmly claimed; `since` is of time.monotonic()."""
    while fewest(claimed(await swarm.servers(model)), num_layers) < 1:
        import asyncio

        await asyncio.sleep(0.05)
    return time.monotonic() - since

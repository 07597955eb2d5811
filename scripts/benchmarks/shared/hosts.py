"""Where the processes of a benchmark run: this machine's loopback, or each on a host of the WAN lab."""

from __future__ import annotations

import random
import socket
from dataclasses import replace
from types import TracebackType
from typing import Self

from p2pinfer.local_swarm.swarm import Place
from scripts.lab import PROFILES, LabHost, Link, WanLab

LOOPBACK = "loopback"
NETWORKS = (LOOPBACK, *PROFILES)
LAB_DHT_PORT = 4001
_PORTS = range(15_000, 30_000)  # below the ports that systems use for outgoing connections
_TRIES = 100


def slowed(link: Link, times: int) -> Link:
    """A link with the same delays, and rates divided by `times`."""
    return replace(
        link,
        up_bits_per_second=link.up_bits_per_second / times,
        down_bits_per_second=link.down_bits_per_second / times,
    )


class Hosts:
    """A context manager; at its end, every process on the hosts of a lab is killed.

    Raises LabUnavailableError where the lab can't run, unless the network is loopback.
    """

    def __init__(self, network: str, *, seed: int, slower: int = 1) -> None:
        """Every rate of a lab is divided by `slower`."""
        self.lab: WanLab | None = None
        self._link: Link | None = None
        self._random = random.Random(seed)
        self._ports: set[int] = set()
        if network != LOOPBACK:
            self._link = slowed(PROFILES[network], slower)
            self.lab = WanLab(seed=seed)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.lab is not None:
            self.lab.close()

    def server_place(self, name: str) -> Place:
        """An address for one server, which it keeps after a restart."""
        if (host := self._host(name)) is not None:
            return Place(address=host.address, dht_port=LAB_DHT_PORT, prefix=tuple(host.prefix))
        return Place(dht_port=self._free_port())

    def client_prefix(self, name: str) -> tuple[str, ...]:
        """The words to put before a client's command."""
        host = self._host(name)
        return () if host is None else tuple(host.prefix)

    def _host(self, name: str) -> LabHost | None:
        if self.lab is None or self._link is None:
            return None
        return self.lab.add_host(name, self._link)

    def _free_port(self) -> int:
        for _ in range(_TRIES):
            port = self._random.choice(_PORTS)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
            if port not in self._ports:
                self._ports.add(port)
                return port
        raise OSError(f"no free port found on 127.0.0.1 in {_TRIES} tries")

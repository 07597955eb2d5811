"""The lab: hosts by name, each in its namespace, and the router between them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from scripts.lab.counters import HostCounters, parse_counters
from scripts.lab.errors import LabError
from scripts.lab.links import Direction, Link
from scripts.lab.namespaces import open_namespace
from scripts.lab.router import Router, sweep
from scripts.lab.router_build import router_program

NETWORK = "10.77"
NETMASK = "255.255.0.0"
FIRST_INDEX = 2  # 10.77.0.1 looks like a gateway, so no host has it
MAX_HOSTS = 250
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabHost:
    """One host. It exists as long as its lab."""

    name: str
    address: str
    prefix: list[str]
    """Put these words before a command to run it on this host. The prefix becomes the command: process id,
    standard streams, inherited descriptors, session and environment are the command's own."""


class WanLab:
    """Hosts joined by links. A context manager; at its end, every process on its hosts is killed.

    Raises LabUnavailableError where the lab can't run, LabError for other failures; `seed` decides which
    packets are lost, and the jitter of every moment.
    """

    def __init__(self, *, seed: int = 0) -> None:
        self.hosts: dict[str, LabHost] = {}
        self._indices: dict[str, int] = {}
        self._networks: list[int] = []
        self._closed = False
        probe = open_namespace(f"{NETWORK}.0.1", NETMASK)  # raises before anything is built
        os.close(probe.tun)
        os.close(probe.network)
        self._program: Path = router_program()
        self._router = Router(self._program, seed=seed)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def router_pid(self) -> int:
        """The router's process id: its processor time is the lab's own cost."""
        return self._router.pid

    def add_host(self, name: str, link: Link) -> LabHost:
        """Make a host; others reach it at once. Raises LabError for a name that is taken or not valid."""
        if not NAME.fullmatch(name):
            raise LabError(f"{name!r} is no name for a host: use letters, digits, '.', '_' and '-'")
        if name in self.hosts:
            raise LabError(f"there is a host {name} already")
        if len(self.hosts) == MAX_HOSTS:
            raise LabError(f"the lab has {MAX_HOSTS} hosts, and takes no more")
        index = FIRST_INDEX + len(self.hosts)
        address = f"{NETWORK}.{index >> 8}.{index & 255}"
        namespace = open_namespace(address, NETMASK)
        try:
            self._router.add_host(index, link, namespace)
        except BaseException:
            os.close(namespace.network)
            raise
        finally:
            os.close(namespace.tun)
        self._networks.append(namespace.network)
        file = f"/proc/{os.getpid()}/fd/{namespace.network}"
        self._indices[name] = index
        self.hosts[name] = LabHost(name=name, address=address, prefix=[str(self._program), "enter", file])
        return self.hosts[name]

    def cut(self, name: str, direction: Direction = Direction.BOTH) -> None:
        """Let nothing pass that the host sends, receives, or both, until `heal`. Hosts get no notice."""
        self._router.cut(self._index(name), direction)

    def heal(self, name: str, direction: Direction = Direction.BOTH) -> None:
        """Undo `cut`."""
        self._router.heal(self._index(name), direction)

    def shape(self, name: str, link: Link) -> None:
        """Give the host another link, from the next packet on."""
        self._router.shape(self._index(name), link)

    def counters(self) -> dict[str, HostCounters]:
        """The counters of passed and dropped packets, by host."""
        return parse_counters(self._router.counters(), {index: name for name, index in self._indices.items()})

    def check(self) -> None:
        """Raise LabError if the router has ended, which takes every host off the network."""
        status = self._router.returncode
        if status is not None and not self._closed:
            raise LabError(f"the lab's router ended with status {status}: all its hosts are off the network")

    def close(self) -> None:
        """Kill every process on the hosts, then remove hosts and router. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            if not self._router.close():
                sweep(self._program, self._networks)
        finally:
            for network in self._networks:
                os.close(network)

    def _index(self, name: str) -> int:
        try:
            return self._indices[name]
        except KeyError as error:
            known = ", ".join(self._indices) or "none yet"
            raise LabError(f"there is no host {name!r}; there are: {known}") from error

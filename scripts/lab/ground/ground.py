"""The namespaces of a lab, with their names and addresses, and the wires that join some of them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from scripts.lab.errors import LabError
from scripts.lab.ground.addresses import FIRST_INDEX, Addresses, wire_ipv4, wire_ipv6
from scripts.lab.ground.namespaces import open_namespace, open_network
from scripts.lab.hosts import NAME
from scripts.lab.links import Link
from scripts.lab.router import Router, sweep
from scripts.lab.router_build import router_program

MAX_HOSTS = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A namespace of the lab: a host's, or a home router's."""

    network: int  # its descriptor, which the lab's ground closes
    program: Path  # the lab's router, which also enters namespaces

    @property
    def file(self) -> str:
        """The namespace as a file, while this process runs."""
        return f"/proc/{os.getpid()}/fd/{self.network}"

    @property
    def prefix(self) -> list[str]:
        """The words before a command that runs in the namespace."""
        return [str(self.program), "enter", self.file]


class Ground:
    """Raises LabUnavailableError where no lab can run. `close` ends every process in its namespaces."""

    def __init__(self, *, seed: int) -> None:
        self._names: set[str] = set()
        self._indices: dict[str, int] = {}
        self._networks: list[int] = []
        self._next_index = FIRST_INDEX
        self._closed = False
        probe = open_namespace(Addresses(ipv4=wire_ipv4(1)))  # raises before anything is built
        os.close(probe.tun)
        os.close(probe.network)
        self._program: Path = router_program()
        self.wires = Router(self._program, seed=seed)

    @property
    def names(self) -> dict[int, str]:
        """The names of what has a wire, by index."""
        return {index: name for name, index in self._indices.items()}

    def claim(self, name: str) -> None:
        """Take a name. Raises LabError if it is taken or not valid, or if the lab is full."""
        if not NAME.fullmatch(name):
            raise LabError(f"{name!r} is no name for a host: use letters, digits, '.', '_' and '-'")
        if name in self._names:
            raise LabError(f"there is a host {name} already")
        if len(self._names) == MAX_HOSTS:
            raise LabError(f"the lab has {MAX_HOSTS} hosts, and takes no more")
        self._names.add(name)

    def add_wired(self, name: str, link: Link, *, ipv4: bool, ipv6: bool) -> tuple[Site, Addresses]:
        """Make a namespace with a device that a link joins to all others like it."""
        if not (ipv4 or ipv6):
            raise LabError(f"{name} needs an address: IPv4, IPv6 or both")
        self.claim(name)
        index = self._new_index()
        addresses = Addresses(
            ipv4=wire_ipv4(index) if ipv4 else None, ipv6=wire_ipv6(index) if ipv6 else None
        )
        namespace = open_namespace(addresses)
        try:
            self.wires.add_host(index, link, namespace)
        except BaseException:
            os.close(namespace.network)
            raise
        finally:
            os.close(namespace.tun)
        self._indices[name] = index
        return self._site(namespace.network), addresses

    def add_unwired(self, name: str) -> Site:
        """Make a namespace with nothing but a loopback, for what stands behind a home router."""
        self.claim(name)
        network = open_network()
        try:
            self.wires.add_network(network)
        except BaseException:
            os.close(network)
            raise
        return self._site(network)

    def renumber(self, name: str) -> str:
        """Have another IPv4 address lead to the wire of `name`; returns it. IPv6 stays as it is."""
        number = self._new_index()
        self.wires.give_number(self.index(name), number)
        return wire_ipv4(number)

    def index(self, name: str) -> int:
        """The index of what has a wire. Raises LabError for any other name."""
        try:
            return self._indices[name]
        except KeyError as error:
            if name in self._names:
                raise LabError(f"{name} has no link of its own: name the router that it is behind") from error
            known = ", ".join(self._indices) or "none yet"
            raise LabError(f"there is no host {name!r}; there are: {known}") from error

    def check(self) -> None:
        """Raise LabError if the wires' program has ended."""
        status = self.wires.returncode
        if status is not None and not self._closed:
            raise LabError(f"the lab's router ended with status {status}: all its hosts are off the network")

    def close(self) -> None:
        """Kill every process in the namespaces, then remove both. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            if not self.wires.close():
                sweep(self._program, self._networks)
        finally:
            for network in self._networks:
                os.close(network)

    def _new_index(self) -> int:
        index = self._next_index
        self._next_index += 1
        return index

    def _site(self, network: int) -> Site:
        self._networks.append(network)
        return Site(network=network, program=self._program)

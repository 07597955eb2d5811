"""The lab: hosts by name, each in its namespace, home routers before some of them, and what joins them."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from scripts.lab.counters import HostCounters, parse_counters
from scripts.lab.ground.ground import Ground
from scripts.lab.homes.home_router import LabRouter, make_router
from scripts.lab.homes.kinds import RouterKind
from scripts.lab.hosts import LabHost
from scripts.lab.links import Direction, Link


class WanLab:
    """Hosts joined by links. A context manager; at its end, every process on its hosts is killed.

    Raises LabUnavailableError where the lab can't run, LabError for other failures; `seed` decides which
    packets are lost, and the jitter of every moment.
    """

    def __init__(self, *, seed: int = 0) -> None:
        self.hosts: dict[str, LabHost] = {}
        self.routers: dict[str, LabRouter] = {}
        self._ground = Ground(seed=seed)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def router_pid(self) -> int:
        """The process id of what carries the packets: its processor time is the lab's own cost."""
        return self._ground.wires.pid

    def add_host(self, name: str, link: Link, *, ipv4: bool = True, ipv6: bool = False) -> LabHost:
        """Make a host with public addresses; others reach it at once.

        Raises LabError for a name that is taken or not valid.
        """
        site, addresses = self._ground.add_wired(name, link, ipv4=ipv4, ipv6=ipv6)
        return self._keep(
            LabHost(name=name, address=addresses.best, address6=addresses.ipv6, prefix=site.prefix)
        )

    def add_router(
        self,
        name: str,
        link: Link,
        kind: RouterKind = RouterKind.HOME,
        *,
        behind: LabRouter | None = None,
        ipv6: bool = False,
        firewall6: bool = True,
    ) -> LabRouter:
        """Make a home router; `add_host` of the router puts hosts behind it.

        With `behind`, its outer side is in the network of another router, whose link it shares: `link` is
        unused then. With `ipv6`, its hosts get public IPv6 addresses, which a stateful firewall protects
        unless `firewall6` is False.

        Raises LabUnavailableError, with what to install, where a command or the kernel lacks something.
        """
        router = make_router(
            self._ground, self._keep, name, link, kind, behind=behind, ipv6=ipv6, firewall6=firewall6
        )
        self.routers[name] = router
        if router.outer is not None:
            self.routers[router.outer.name] = router.outer
        return router

    def add_home(self, name: str, link: Link, kind: RouterKind) -> LabHost:
        """A host behind a router of its own, NAME-router; or, for RouterKind.NONE, a public host."""
        if kind is RouterKind.NONE:
            return self.add_host(name, link)
        return self.add_router(f"{name}-router", link, kind).add_host(name)

    def router_of(self, name: str) -> LabRouter | None:
        """The router before a host, None if there is none. Raises LabError for an unknown name."""
        for router in self.routers.values():
            if name in router.hosts:
                return router
        self._ground.index(name)
        return None

    def link_of(self, name: str) -> str:
        """The name of the link of a host: its own, or that of the outermost router before it."""
        router = self.router_of(name)
        if router is None:
            return name
        while router.outer is not None:
            router = router.outer
        return router.name

    def cut(self, name: str, direction: Direction = Direction.BOTH) -> None:
        """Let nothing pass that the host sends, receives, or both, until `heal`. Hosts get no notice."""
        self._ground.wires.cut(self._ground.index(name), direction)

    def heal(self, name: str, direction: Direction = Direction.BOTH) -> None:
        """Undo `cut`."""
        self._ground.wires.heal(self._ground.index(name), direction)

    def shape(self, name: str, link: Link) -> None:
        """Give the host another link, from the next packet on."""
        self._ground.wires.shape(self._ground.index(name), link)

    def counters(self) -> dict[str, HostCounters]:
        """The counters of passed and dropped packets, by the host or router that has the link."""
        return parse_counters(self._ground.wires.counters(), self._ground.names)

    def check(self) -> None:
        """Raise LabError if the router has ended, which takes every host off the network."""
        self._ground.check()

    def close(self) -> None:
        """Kill every process on the hosts, then remove hosts and routers. A second call does nothing."""
        try:
            for router in self.routers.values():
                router.close()
        finally:
            self._ground.close()

    def _keep(self, host: LabHost) -> LabHost:
        self.hosts[host.name] = host
        return host

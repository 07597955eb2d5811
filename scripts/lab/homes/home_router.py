"""A home router: a namespace with the kernel's NAT, a device outward, and a bridge to the hosts behind it."""

from __future__ import annotations

import time
from collections.abc import Callable

from scripts.lab.errors import LabError
from scripts.lab.ground import addresses as plan
from scripts.lab.ground.addresses import Addresses
from scripts.lab.ground.commands import find_command, forget_connections, load_rules, run_ip, set_kernel
from scripts.lab.ground.ground import Ground, Site
from scripts.lab.homes.kinds import RouterKind
from scripts.lab.homes.port_mapping import MAPPING_RULES, PortMapping, check_port_mapping
from scripts.lab.homes.rules import HOME, WIRE, router_rules
from scripts.lab.hosts import LabHost
from scripts.lab.links import Link

HOST_DEVICE = "eth0"
REBOOT_SECONDS = 1.0
_FORWARDING = {
    "ipv4/ip_forward": 1,
    "bridge/bridge-nf-call-iptables": 0,  # hosts of one home talk without the router's rules
    "bridge/bridge-nf-call-ip6tables": 0,
}
_ONLY_IPV4 = {"ipv6/conf/all/disable_ipv6": 1, "ipv6/conf/default/disable_ipv6": 1}
# Without accept_dad, a device looks for neighbours at once, not only after a second of looking for twins.
_BOTH = {f"ipv6/conf/{which}/{name}": value
         for which in ("all", "default")
         for name, value in {"disable_ipv6": 0, "accept_dad": 0, "accept_ra": 0}.items()}  # fmt: skip
_FORWARDING_6 = _FORWARDING | _BOTH | {"ipv6/conf/all/forwarding": 1}


class LabRouter:
    """A router and its home. It exists as long as its lab; `lab.add_router` makes one."""

    def __init__(
        self,
        ground: Ground,
        keep: Callable[[LabHost], LabHost],
        site: Site,
        own: Addresses,
        *,
        name: str,
        kind: RouterKind,
        outer: LabRouter | None,
        firewall6: bool,
    ) -> None:
        self.name, self.kind, self.outer = name, kind, outer
        self.hosts: dict[str, LabHost] = {}
        self._ground, self._keep, self._site, self._own = ground, keep, site, own
        self._rules = router_rules(kind, firewall6=firewall6)
        self._places = 0  # taken by hosts and routers behind it
        self._mapping: PortMapping | None = None
        if kind is RouterKind.PORT_MAPPING:
            self._rules += MAPPING_RULES
        self._set_up()

    @property
    def address(self) -> str:
        """Its outer IPv4 address: public, or of the carrier's network if it is behind another router."""
        assert self._own.ipv4 is not None
        return self._own.ipv4

    @property
    def public_address(self) -> str:
        """The IPv4 address from which others see what comes from behind it."""
        return self.address if self.outer is None else self.outer.public_address

    @property
    def prefix(self) -> list[str]:
        """The words before a command that runs on the router itself."""
        return self._site.prefix

    def add_host(self, name: str) -> LabHost:
        """Put a host behind this router. Raises LabError for a name that is taken or not valid."""
        address = plan.behind_router(self._places)
        address6 = None
        if self._own.ipv6 is not None:
            address6 = plan.home_ipv6(self._ground.index(self.name), self._places)
        site = self._ground.add_unwired(name)
        set_kernel(site, _ONLY_IPV4 if address6 is None else _BOTH)
        self._connect(site, HOST_DEVICE)
        lines = [
            f"address add {address}/{plan.HOME_PREFIX} dev {HOST_DEVICE}",
            f"link set {HOST_DEVICE} up",
            f"route add default via {plan.HOME_GATEWAY}",
        ]
        if address6 is not None:
            gateway = plan.home_ipv6_gateway(self._ground.index(self.name))
            lines += [
                f"address add {address6}/{plan.IPV6_HOME_PREFIX} dev {HOST_DEVICE} nodad",
                f"route add default via {gateway} dev {HOST_DEVICE}",
            ]
        run_ip(site, lines)
        host = LabHost(name=name, address=address, address6=address6, prefix=site.prefix)
        self.hosts[name] = host
        return self._keep(host)

    def reboot(self, *, new_address: bool = True, seconds: float = REBOOT_SECONDS) -> None:
        """Be off for some seconds, forget all mappings, and come back, with another address or the same.

        Hosts behind it get no notice: their devices stay up. IPv6 addresses stay the same.
        """
        if self._mapping is not None:
            self._mapping.close()
        run_ip(self._site, [f"link set {WIRE} down"])
        load_rules(self._site, self._rules)
        forget_connections(self._site)
        time.sleep(seconds)
        run_ip(self._site, [f"address delete {self.address}/{self._outer_prefix} dev {WIRE}"])
        if new_address:
            self._own = Addresses(ipv4=self._other_address(), ipv6=self._own.ipv6)
        self._connect_outward()
        if self._mapping is not None:
            self._mapping = PortMapping(self._site)

    def close(self) -> None:
        """End what runs on the router; the lab removes the rest."""
        if self._mapping is not None:
            self._mapping.close()

    def join(self, site: Site) -> str:
        """Connect another router's outer device to this home, which makes this one a carrier."""
        address = plan.behind_carrier(self._places)
        self._connect(site, WIRE)
        return address

    def _set_up(self) -> None:
        ipv6 = self._own.ipv6 is not None
        set_kernel(self._site, _FORWARDING_6 if ipv6 else _FORWARDING | _ONLY_IPV4)
        load_rules(self._site, self._rules)
        lines = [
            f"link add {HOME} type bridge",
            f"address add {plan.HOME_GATEWAY}/{plan.HOME_PREFIX} dev {HOME}",
            f"link set {HOME} up",
        ]
        if self.outer is None:  # it may become a carrier
            lines.append(f"address add {plan.CARRIER_GATEWAY}/{plan.CARRIER_PREFIX} dev {HOME}")
        if ipv6:
            gateway = plan.home_ipv6_gateway(self._ground.index(self.name))
            lines.append(f"address add {gateway}/{plan.IPV6_HOME_PREFIX} dev {HOME} nodad")
        run_ip(self._site, lines)
        if self.outer is not None:
            self._connect_outward()
        if self.kind is RouterKind.PORT_MAPPING:
            self._mapping = PortMapping(self._site)

    @property
    def _outer_prefix(self) -> int:
        return plan.IPV4_PREFIX if self.outer is None else plan.CARRIER_PREFIX

    def _connect_outward(self) -> None:
        route = "" if self.outer is None else f"via {plan.CARRIER_GATEWAY}"
        lines = [
            f"address add {self.address}/{self._outer_prefix} dev {WIRE}",
            f"link set {WIRE} up",
            f"route add default {route} dev {WIRE}",
        ]
        if self._own.ipv6 is not None:
            lines += [
                f"address replace {self._own.ipv6}/{plan.IPV6_WIRE_PREFIX} dev {WIRE} nodad",
                f"route replace 2000::/3 dev {WIRE}",  # all that is public,
            ]
        run_ip(self._site, lines)

    def _other_address(self) -> str:
        if self.outer is None:
            return self._ground.renumber(self.name)
        return self.outer.another_place()

    def another_place(self) -> str:
        """An address of the carrier's network that nobody has had."""
        self._places += 1
        return plan.behind_carrier(self._places - 1)

    def _connect(self, site: Site, device: str) -> None:
        """Lay a cable from the bridge to a new device in another namespace, and take a place."""
        if self._places >= plan.MOST_BEHIND_A_ROUTER:
            raise LabError(f"the home of router {self.name} is full")
        port = f"{HOME}.{self._places}"
        self._places += 1
        run_ip(
            self._site,
            [
                f"link add {port} type veth peer name {device} netns {site.file}",
                f"link set {port} master {HOME} up",
            ],
        )


def make_router(
    ground: Ground,
    keep: Callable[[LabHost], LabHost],
    name: str,
    link: Link,
    kind: RouterKind,
    *,
    behind: LabRouter | None,
    ipv6: bool,
    firewall6: bool,
) -> LabRouter:
    """Make a router, on a wire of its own or behind another one; `lab.add_router` says what for.

    Raises LabUnavailableError where something is missing, LabError for what can't be.
    """
    for command in ("ip", "nft"):
        find_command(command)
    if kind is RouterKind.NONE:
        raise LabError(f"{name}: RouterKind.NONE is no router; use add_host or add_home")
    if kind is RouterKind.PORT_MAPPING:
        check_port_mapping()
    if ipv6 and (behind is not None or kind is RouterKind.CARRIER):
        raise LabError(f"{name}: a router behind another one has no IPv6")
    if behind is not None and (kind is RouterKind.CARRIER or behind.outer is not None):
        raise LabError(f"{name}: two routers in a row are the most")
    if kind is RouterKind.CARRIER:
        behind = make_router(
            ground, keep, f"{name}-carrier", link, RouterKind.HOME, behind=None, ipv6=False, firewall6=True
        )
    if behind is None:
        site, own = ground.add_wired(name, link, ipv4=True, ipv6=ipv6)
    else:
        site = ground.add_unwired(name)
        set_kernel(site, _ONLY_IPV4)
        own = Addresses(ipv4=behind.join(site))
    return LabRouter(ground, keep, site, own, name=name, kind=kind, outer=behind, firewall6=firewall6)

"""`ip`, `nft` and the kernel's settings, used inside one of the lab's namespaces."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from scripts.lab.errors import LabError, LabUnavailableError
from scripts.lab.ground.ground import Site
from scripts.lab.ground.namespaces import in_network

PACKAGES = {"ip": "iproute2", "nft": "nftables", "miniupnpd": "miniupnpd"}
"""Commands, and the Debian packages that they come in."""
_SECONDS = 20.0
_MISSING_IN_KERNEL = ("not supported", "Unknown device type", "No such file or directory", "not permitted")

_NETLINK_NETFILTER = 12
_DELETE_CONNECTIONS = 1 << 8 | 2  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_DELETE
_REQUEST_AND_ACK = 0x1 | 0x4
_NETLINK_ERROR = 2


def find_command(name: str) -> str:
    """The path of a command. Raises LabUnavailableError that says what to install."""
    path = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]))
    if path is None:
        raise LabUnavailableError(
            f"a router of the WAN lab needs {name}: install it (Debian: apt-get install {PACKAGES[name]})"
        )
    return path


def run_ip(site: Site, lines: Sequence[str]) -> None:
    """Run `ip` with each of the lines, in this order. Raises LabError for the first that fails."""
    _run(site, [find_command("ip"), "-batch", "-"], "\n".join(lines))


def load_rules(site: Site, rules: str) -> None:
    """Replace all nftables rules of a namespace, with what their maps and sets have learned."""
    _run(site, [find_command("nft"), "-f", "-"], f"flush ruleset\n{rules}")


def set_kernel(site: Site, settings: Mapping[str, int]) -> None:
    """Write settings by their path below /proc/sys/net; those that this kernel doesn't have are left out."""

    def write() -> None:
        for name, value in settings.items():
            path = Path("/proc/sys/net", name)
            if path.exists():
                path.write_text(str(value))

    in_network(site.network, write)


def forget_connections(site: Site) -> None:
    """Empty the kernel's table of connections, and with it all mappings of the NAT."""

    def ask() -> int:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as netlink:
            netlink.settimeout(_SECONDS)
            everything = struct.pack("=BBH", socket.AF_UNSPEC, 0, 0)
            header = struct.pack("=IHHII", 20, _DELETE_CONNECTIONS, _REQUEST_AND_ACK, 1, 0)
            netlink.send(header + everything)
            answer = netlink.recv(4096)
        kind, status = struct.unpack_from("=4xH10xi", answer)
        return status if kind == _NETLINK_ERROR else 0

    if status := in_network(site.network, ask):
        raise LabUnavailableError(
            "a home router of the WAN lab needs a kernel that can forget connections (nf_conntrack_netlink): "
            f"{os.strerror(-status)}"
        )


def _run(site: Site, command: list[str], text: str) -> None:
    try:
        done = subprocess.run(
            [*site.prefix, *command],
            input=text,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
            env=os.environ | {"LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{Path(command[0]).name} took longer than {_SECONDS:g} s") from error
    if done.returncode != 0:
        said = done.stderr.strip()
        if any(words in said for words in _MISSING_IN_KERNEL):
            raise LabUnavailableError(
                "a home router of the WAN lab needs a kernel with bridges, veth, nftables and NAT, and "
                f"the right to use them; {Path(command[0]).name} said: {said}"
            )
        raise LabError(f"{Path(command[0]).name} failed: {said}")

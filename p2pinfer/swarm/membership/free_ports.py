"""Ports for p2pd where the user left them open: the same number for TCP and QUIC.

Who knows one address of a peer can then guess the other (`with_quic_beside`).
"""

from __future__ import annotations

import random
import socket
from collections.abc import Sequence
from contextlib import suppress

_PORTS = range(10_000, 32_000)  # below the ports that systems use for outgoing connections
_TRIES = 64


def with_free_ports(listen: Sequence[str]) -> tuple[str, ...]:
    """`listen` with one free port instead of each port 0, if TCP and QUIC are both among them.

    The addresses stay as they are where no such port is found: p2pd then chooses ports itself.
    """
    open_ones = [address for address in listen if _port_of(address) == 0]
    if not {"tcp", "udp"} <= {address.split("/")[3] for address in open_ones}:
        return tuple(listen)
    for _ in range(_TRIES):
        port = random.choice(_PORTS)
        if all(_is_free(address, port) for address in open_ones):
            return tuple(_with_port(address, port) if address in open_ones else address for address in listen)
    return tuple(listen)


def _port_of(address: str) -> int | None:
    words = address.split("/")
    return int(words[4]) if len(words) > 4 and words[4].isdecimal() else None


def _with_port(address: str, port: int) -> str:
    words = address.split("/")
    return "/".join([*words[:4], str(port), *words[5:]])


def _is_free(address: str, port: int) -> bool:
    words = address.split("/")
    family = socket.AF_INET if words[1] == "ip4" else socket.AF_INET6
    kind = socket.SOCK_STREAM if words[3] == "tcp" else socket.SOCK_DGRAM
    with suppress(OSError), socket.socket(family, kind) as probe:
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.bind((words[2], port))
        return True
    return False

"""Network namespaces without a name: only file descriptors keep them, so none is ever left behind.

A thread moves itself into a new namespace, opens a TUN device there and gives it an address, all by system
calls: no `ip`, no child process, no file under /run. The kernel removes everything when the descriptors are
closed, however the process ends.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from scripts.lab.errors import LabError, LabUnavailableError
from scripts.lab.ground.addresses import IPV4_PREFIX, IPV6_WIRE_PREFIX, Addresses

DEVICE = b"wan0"
MTU_BYTES = 1500
"""The MTU of Ethernet and of nearly every access line; router_source/packets.hpp has it too. A larger MTU
would make slow links coarse: one packet of 64 KB takes a 20 Mbit/s uplink for 26 ms."""
QUEUE_PACKETS = 10_000
"""The queue of a device between a host and the router. It is longer than the device's default of 500 packets,
which is less than one TCP connection sends at once, so that only the router's own queues ever drop any."""

_CLONE_NEWNET = 0x40000000
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_IFF_UP, _IFF_RUNNING = 0x1, 0x40
_SIOCADDRT, _SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x890B, 0x8913, 0x8914
_SIOCSIFADDR, _SIOCSIFNETMASK, _SIOCSIFMTU, _SIOCSIFTXQLEN = 0x8916, 0x891C, 0x8922, 0x8943
_RTF_UP = 0x1

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    """Descriptors of a namespace and of the TUN device inside. The owner closes both."""

    network: int
    tun: int


def open_namespace(addresses: Addresses) -> Namespace:
    """Make a namespace with a loopback and a device of these addresses, which carries all other traffic.

    Raises LabUnavailableError where the kernel or the user's rights don't allow it.
    """
    return _in_new_namespace(lambda network: _add_device(network, addresses))


def open_network() -> int:
    """Make a namespace with a loopback and nothing else; returns its descriptor, which the caller closes.

    Raises LabUnavailableError like `open_namespace`.
    """
    return _in_new_namespace(_without_device)


def in_network(network: int, action: Callable[[], T]) -> T:
    """What `action` returns, or raises, when it runs in a thread inside this namespace."""

    def act() -> T:
        _ask_libc("setns", network, _CLONE_NEWNET)
        return action()

    return _in_a_thread(act)


def _in_new_namespace(fill: Callable[[int], T]) -> T:
    """`fill` gets the namespace's descriptor, which is closed if it raises."""
    if sys.platform != "linux":
        raise LabUnavailableError("the WAN lab needs Linux: it is made of network namespaces and TUN devices")

    def make() -> T:
        _ask_libc("unshare", _CLONE_NEWNET)
        network = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return fill(network)
        except BaseException:
            os.close(network)
            raise

    try:
        return _in_a_thread(make)
    except OSError as error:
        raise _explained(error) from error


def _in_a_thread(action: Callable[[], T]) -> T:
    """Only this thread moves into another namespace, and it ends here."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(action).result()


def _ask_libc(name: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _explained(error: OSError) -> LabError:
    if error.errno in (errno.EPERM, errno.EACCES):
        return LabUnavailableError(f"the WAN lab needs root, or CAP_SYS_ADMIN and CAP_NET_ADMIN: {error}")
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.EINVAL, errno.ENOSYS):
        return LabUnavailableError(f"the WAN lab needs network namespaces and /dev/net/tun: {error}")
    return LabError(f"can't make a network namespace: {error}")


def _without_device(network: int) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        _bring_up(control, b"lo")
    return network


def _add_device(network: int, addresses: Addresses) -> Namespace:
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH14x", DEVICE, _IFF_TUN | _IFF_NO_PI))
        # Without an IPv6 address, the device carries nothing until a program sends something.
        no_ipv6 = Path("/proc/sys/net/ipv6/conf", DEVICE.decode(), "disable_ipv6")
        if no_ipv6.exists():
            no_ipv6.write_text("01"[addresses.ipv6 is None])
        elif addresses.ipv6 is not None:
            raise LabUnavailableError("an IPv6 host of the WAN lab needs a kernel with IPv6")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            _ask(control, _SIOCSIFMTU, "16si", DEVICE, MTU_BYTES)
            _ask(control, _SIOCSIFTXQLEN, "16si", DEVICE, QUEUE_PACKETS)
            _bring_up(control, b"lo")
            _bring_up(control, DEVICE)
            if addresses.ipv4 is not None:
                _add_ipv4(control, addresses.ipv4)
        if addresses.ipv6 is not None:
            _add_ipv6(addresses.ipv6)
    except BaseException:
        os.close(tun)
        raise
    return Namespace(network=network, tun=tun)


def _ask(control: socket.socket, request: int, layout: str, *values: bytes | int) -> bytes:
    return fcntl.ioctl(control, request, struct.pack(layout, *values).ljust(40, b"\0"))


def _bring_up(control: socket.socket, device: bytes) -> None:
    (flags,) = struct.unpack_from("16xH", _ask(control, _SIOCGIFFLAGS, "16s", device))
    _ask(control, _SIOCSIFFLAGS, "16sH", device, flags | _IFF_UP | _IFF_RUNNING)


def _add_ipv4(control: socket.socket, address: str) -> None:
    """The address, and a default route: a program that asks which of its addresses leads to the internet gets
    the lab's, as it would at home."""
    netmask = socket.inet_ntoa(struct.pack("!I", 0xFFFFFFFF << (32 - IPV4_PREFIX) & 0xFFFFFFFF))
    _ask(control, _SIOCSIFADDR, "16s16s", DEVICE, _socket_address(address))
    _ask(control, _SIOCSIFNETMASK, "16s16s", DEVICE, _socket_address(netmask))
    anywhere = _socket_address("0.0.0.0")
    route = _Route(rt_flags=_RTF_UP, rt_dev=DEVICE)
    for field in ("rt_dst", "rt_gateway", "rt_genmask"):
        offset = getattr(_Route, field).offset
        ctypes.memmove(ctypes.addressof(route) + offset, anywhere, len(anywhere))
    fcntl.ioctl(control, _SIOCADDRT, route)


def _add_ipv6(address: str) -> None:
    """The same, by struct in6_ifreq and struct in6_rtmsg of <linux/ipv6.h> and <linux/ipv6_route.h>."""
    device = socket.if_nametoindex(DEVICE.decode())
    ours = socket.inet_pton(socket.AF_INET6, address)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFADDR, struct.pack("16sIi", ours, IPV6_WIRE_PREFIX, device))
        route = struct.pack("16s16s16sIHHILIi", b"", b"", b"", 0, 0, 0, 1, 0, _RTF_UP, device)
        fcntl.ioctl(control, _SIOCADDRT, route)


def _socket_address(address: str) -> bytes:
    """struct sockaddr_in, without a port."""
    return struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(address))


class _Route(ctypes.Structure):
    """struct rtentry of <linux/route.h>."""

    _fields_ = (
        ("rt_pad1", ctypes.c_ulong),
        ("rt_dst", ctypes.c_char * 16),
        ("rt_gateway", ctypes.c_char * 16),
        ("rt_genmask", ctypes.c_char * 16),
        ("rt_flags", ctypes.c_ushort),
        ("rt_pad2", ctypes.c_short),
        ("rt_pad3", ctypes.c_ulong),
        ("rt_pad4", ctypes.c_void_p),
        ("rt_metric", ctypes.c_short),
        ("rt_dev", ctypes.c_char_p),
        ("rt_mtu", ctypes.c_ulong),
        ("rt_window", ctypes.c_ulong),
        ("rt_irtt", ctypes.c_ushort),
    )
